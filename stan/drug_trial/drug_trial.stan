// Kruschke's robust comparison of two groups (BEST): Student-t scores, own mean and scale for
// each group, shared degrees of freedom.
data {
  int<lower=1> N_drug;
  int<lower=1> N_placebo;
  vector[N_drug] drug;
  vector[N_placebo] placebo;
}
transformed data {
  // The priors are vague on the scale of the scores, whatever their unit.
  vector[N_drug + N_placebo] pooled = append_row(drug, placebo);
  real pooled_mean = mean(pooled);
  real pooled_sd = sd(pooled);
}
parameters {
  // ADVI starts within (-2, 2) of the unconstrained origin, so the origin is put at the scores.
  real<offset=pooled_mean, multiplier=pooled_sd> mu_drug;
  real<offset=pooled_mean, multiplier=pooled_sd> mu_placebo;
  real<lower=0> sigma_drug;
  real<lower=0> sigma_placebo;
  real<lower=0> nu_minus_one;
}
transformed parameters {
  real nu = nu_minus_one + 1;
}
model {
  mu_drug ~ normal(pooled_mean, 2 * pooled_sd);
  mu_placebo ~ normal(pooled_mean, 2 * pooled_sd);
  // Half-normal where Kruschke has a uniform: no edge for a gradient to fall over.
  sigma_drug ~ normal(0, 2 * pooled_sd);
  sigma_placebo ~ normal(0, 2 * pooled_sd);
  nu_minus_one ~ exponential(1 / 29.0);
  drug ~ student_t(nu, mu_drug, sigma_drug);
  placebo ~ student_t(nu, mu_placebo, sigma_placebo);
}
generated quantities {
  real difference_of_means = mu_drug - mu_placebo;
  real difference_of_sds = sigma_drug - sigma_placebo;
  real effect_size
    = difference_of_means / sqrt((square(sigma_drug) + square(sigma_placebo)) / 2);
}
