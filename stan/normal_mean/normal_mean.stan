// The mean of a normal with known sd: the posterior is exactly normal.
data {
  int<lower=1> N;
  vector[N] x;
}
parameters {
  real m;
}
model {
  m ~ normal(0, 1);
  x ~ normal(m, 1);
}
