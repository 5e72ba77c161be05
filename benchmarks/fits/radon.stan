data { int<lower=1> N; vector[N] y; vector[N] x; int<lower=1> J; array[N] int<lower=1> group; }
parameters { vector[J] a; real b; real mu; real<lower=0> tau; real<lower=0> sigma; }
model {
  mu ~ normal(0, 5); b ~ normal(0, 5); tau ~ normal(0, 1); sigma ~ normal(0, 2);
  a ~ normal(mu, tau);
  y ~ normal(a[group] + b * x, sigma);
}
