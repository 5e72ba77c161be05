// A density on (0, 1) that leans hard against 1. Stan works on the logit scale by itself.
parameters {
  real<lower=0, upper=1> theta;
}
model {
  theta ~ beta(1001, 2);
}
generated quantities {
  // The scale on which ADVI's Gaussian lives.
  real logit_theta = logit(theta);
}
