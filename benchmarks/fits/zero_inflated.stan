data { int<lower=1> N; int<lower=1> K; matrix[N, K] X; array[N] int<lower=0> y; }
parameters { vector[K] b; real a; vector[K] c; real e; }
model {
  vector[N] eta = a + X * b;
  vector[N] zero = e + X * c;
  b ~ normal(0, 1); a ~ normal(0, 2); c ~ normal(0, 1); e ~ normal(0, 2);
  for (n in 1:N) {
    if (y[n] == 0)
      target += log_sum_exp(bernoulli_logit_lpmf(1 | zero[n]),
                            bernoulli_logit_lpmf(0 | zero[n]) + poisson_log_lpmf(0 | eta[n]));
    else
      target += bernoulli_logit_lpmf(0 | zero[n]) + poisson_log_lpmf(y[n] | eta[n]);
  }
}
