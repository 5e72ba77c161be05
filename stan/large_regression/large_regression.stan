// The linear regression once more, with K predictors and many rows.
data {
  int<lower=2> N;
  int<lower=1> K;
  matrix[N, K] x;
  vector[N] y;
  real<lower=0> likelihood_scale;  // 1 for all rows; rows in total / rows given for a minibatch
}
parameters {
  real intercept;
  vector[K] slope;
  real<lower=0> sigma;
}
model {
  intercept ~ normal(0, 20);
  slope ~ normal(0, 20);
  sigma ~ cauchy(0, 10);  // half-Cauchy, because sigma is positive
  target += likelihood_scale * normal_id_glm_lpdf(y | x, intercept, slope, sigma);
}
