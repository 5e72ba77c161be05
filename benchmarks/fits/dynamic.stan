data { int<lower=1> T; array[T] int<lower=0> y; int<lower=1> S; }
parameters { real a; real<lower=0> tau; vector[T] z; vector[S] season; real<lower=0> omega; }
model {
  vector[T] eta = a + tau * cumulative_sum(z);
  for (t in 1:T) eta[t] += omega * season[1 + t % S];
  a ~ normal(0, 3); tau ~ normal(0, 0.5); omega ~ normal(0, 1); z ~ std_normal();
  season ~ std_normal();
  y ~ poisson_log(eta);
}
