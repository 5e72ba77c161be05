parameters {
  real a;
  real b;
  real<lower=0> c;
  real<lower=0> d;
}
model {
  target += normal_lpdf(2 | a + b, 1);
  target += normal_lpdf(log(c) + log(d) | 0, 1) - log(c) - log(d);
}
