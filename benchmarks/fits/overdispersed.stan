data { int<lower=1> N; int<lower=1> K; matrix[N, K] X; array[N] int<lower=0> y; }
parameters { real a; vector[K] b; real<lower=0> tau; vector[N] z; }
model {
  a ~ normal(0, 3); b ~ normal(0, 1); tau ~ normal(0, 1); z ~ std_normal();
  y ~ poisson_log(a + X * b + tau * z);
}
