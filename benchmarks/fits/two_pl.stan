data { int<lower=1> I; int<lower=1> J; array[I * J] int<lower=0, upper=1> y;
  array[I * J] int item; array[I * J] int person; }
parameters { vector[J] theta; vector<lower=0>[I] a; vector[I] b; real mu; real<lower=0> tau; }
model {
  theta ~ std_normal(); a ~ lognormal(0, 0.5); b ~ normal(mu, tau); mu ~ normal(0, 2);
  tau ~ normal(0, 2);
  y ~ bernoulli_logit(a[item] .* (theta[person] - b[item]));
}
