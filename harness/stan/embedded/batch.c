/* The gradient at each point of a batch, without a call from Python for each. */
#include <stdint.h>

typedef int (*gradient_of)(void *model, const double *z, double *value, double *slope);

/* z and slope are (n, dimension), value and code (n,); without a slope no gradient is computed.
   Returns how many codes are not zero. */
int64_t harness_batch(gradient_of gradient, void *model, int64_t n, int64_t dimension,
                      const double *z, double *value, double *slope, int32_t *code) {
  int64_t rejected = 0;
  for (int64_t i = 0; i < n; ++i) {
    code[i] = gradient(model, z + i * dimension, value + i, slope ? slope + i * dimension : 0);
    rejected += code[i] != 0;
  }
  return rejected;
}
