data { int<lower=1> I; int<lower=1> J; array[I * J] int<lower=0, upper=1> y;
  array[I * J] int item; array[I * J] int person; }
parameters { vector[J] theta; vector[I] b; real mu; real<lower=0> tau; }
model {
  theta ~ normal(0, tau); tau ~ normal(0, 2); mu ~ normal(0, 2); b ~ std_normal();
  y ~ bernoulli_logit(theta[person] - b[item] + mu);
}
