data { int<lower=1> T; vector[T] y; }
parameters { vector[T] x; real<lower=0> tau; real<lower=0> sigma; }
model {
  tau ~ normal(0, 1); sigma ~ normal(0, 1);
  x[1] ~ normal(0, 2);
  x[2:T] ~ normal(x[1:(T - 1)], tau);
  y ~ normal(x, sigma);
}
