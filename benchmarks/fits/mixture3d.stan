data { int<lower=1> N; int<lower=1> K; int<lower=1> D; matrix[N, D] y; }
parameters { simplex[K] share; array[K] row_vector[D] mu; array[K] vector<lower=0>[D] sigma; }
model {
  share ~ dirichlet(rep_vector(2, K));
  for (k in 1:K) { mu[k] ~ normal(0, 5); sigma[k] ~ lognormal(0, 0.5); }
  for (n in 1:N) {
    vector[K] l;
    for (k in 1:K) l[k] = log(share[k]) + normal_lpdf(y[n] | mu[k], sigma[k]);
    target += log_sum_exp(l);
  }
}
