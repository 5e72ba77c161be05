// Two well separated normals and no data: a posterior with two modes.
parameters {
  real x;
}
model {
  target += log_mix(0.2, normal_lpdf(x | -0.3, 0.1), normal_lpdf(x | 0.5, 0.1));
}
generated quantities {
  real x2 = square(x);
  real sin_x = sin(x);
}
