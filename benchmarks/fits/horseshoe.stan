data { int<lower=1> N; int<lower=1> K; matrix[N, K] X; vector[N] y; }
parameters {
  real a; real<lower=0> sigma; vector[K] z; vector<lower=0>[K] lambda; real<lower=0> tau;
  real<lower=0> c2;
}
model {
  vector[K] l2 = square(lambda);
  vector[K] b = z .* sqrt(c2 * l2 ./ (c2 + square(tau) * l2)) * tau;
  a ~ normal(0, 2); sigma ~ normal(0, 2); z ~ std_normal(); lambda ~ student_t(3, 0, 1);
  tau ~ student_t(3, 0, 0.1); c2 ~ inv_gamma(2, 8);
  y ~ normal(a + X * b, sigma);
}
