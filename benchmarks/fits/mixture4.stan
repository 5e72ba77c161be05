data { int<lower=1> N; int<lower=1> K; vector[N] y; }
parameters { simplex[K] share; ordered[K] mu; vector<lower=0>[K] sigma; }
model {
  share ~ dirichlet(rep_vector(2, K)); mu ~ normal(0, 5); sigma ~ lognormal(0, 0.5);
  for (n in 1:N) {
    vector[K] l;
    for (k in 1:K) l[k] = log(share[k]) + normal_lpdf(y[n] | mu[k], sigma[k]);
    target += log_sum_exp(l);
  }
}
