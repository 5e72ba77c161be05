// A Student-t with three degrees of freedom and no data: a posterior whose tails are heavier
// than any Gaussian's.
parameters {
  real x;
}
model {
  x ~ student_t(3, 0, 1);
}
