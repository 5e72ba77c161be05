data { int<lower=1> N; int<lower=1> K; matrix[N, K] X; array[N] int<lower=0, upper=1> y; }
parameters { real a; vector[K] b; }
model { a ~ student_t(3, 0, 2.5); b ~ student_t(5, 0, 2.5); y ~ bernoulli_logit_glm(X, a, b); }
