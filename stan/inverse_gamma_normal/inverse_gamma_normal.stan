// A normal with unknown mean and variance under the conjugate prior. s is a variance.
data {
  int<lower=1> N;
  vector[N] x;
}
parameters {
  real<lower=0> s;
  real m;
}
model {
  s ~ inv_gamma(2, 3);
  m ~ normal(0, sqrt(s));
  x ~ normal(m, sqrt(s));
}
