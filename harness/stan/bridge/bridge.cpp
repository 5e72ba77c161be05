// A Stan program's log density, gradient and transforms behind a plain C interface.
//
// Compiled once per CmdStan and set of flags, then linked with what stanc makes of a program.
// Everything that crosses the border is plain data; every function that runs the program's code
// turns its C++ exceptions into a status and a message, so nothing a program throws can leave
// this file. C++14, for CmdStan 2.27 to 2.38: `new_model` never changed, the type of the random
// numbers did (2.35), and model_base's templates over propto and jacobian are there in all.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <stan/math/rev/core.hpp>
#include <stan/model/model_base.hpp>
#include <stan/services/util/create_rng.hpp>

#include "arrays.hpp"
#include "guarded.hpp"

// What stanc generates; it owns nothing and takes its data from the context during the call.
stan::model::model_base& new_model(stan::io::var_context& context, unsigned int seed,
                                   std::ostream* messages);

namespace {

// A Boost generator whose type changed with the releases.
using rng_t = decltype(stan::services::util::create_rng(0U, 0U));
using stan::math::var;
using Vector = Eigen::VectorXd;

constexpr int32_t kInterface = 2;
constexpr std::size_t kMostMessages = 1 << 16;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

int64_t copied(const std::string& text, char* out, int64_t capacity) {
  if (out != nullptr && capacity > 0) {
    const std::size_t n = std::min<std::size_t>(text.size(), static_cast<std::size_t>(capacity) - 1);
    std::memcpy(out, text.data(), n);
    out[n] = '\0';
  }
  return static_cast<int64_t>(text.size()) + 1;
}

}  // namespace

extern "C" {

struct hb_model {
  std::unique_ptr<stan::model::model_base> model;
  std::ostringstream messages;
  std::string error;
};

struct hb_rng {
  rng_t rng;
};

// One point with its own buffers of the model's dimension, for calls that cost little.
struct hb_point {
  hb_model* model;
  int64_t dimension;
  int32_t propto;
  int32_t jacobian;
  const double* x;
  double* gradient;
  int32_t status;
};

}  // extern "C"

namespace {

// The program, if it is still there and has the dimension that the caller's buffers have.
stan::model::model_base& program(const hb_model& m) {
  if (m.model == nullptr) throw std::logic_error("the model is closed; make it again");
  return *m.model;
}

stan::model::model_base& program(const hb_model& m, int64_t dimension) {
  stan::model::model_base& found = program(m);
  if (static_cast<int64_t>(found.num_params_r()) != dimension)
    throw std::logic_error("the model has " + std::to_string(found.num_params_r())
                           + " dimensions, not " + std::to_string(dimension)
                           + ": other data were bound meanwhile");
  return found;
}

std::ostream* listener(hb_model& m) {
  // A program that prints in every evaluation must not fill the memory.
  if (static_cast<std::size_t>(m.messages.tellp()) > kMostMessages) return nullptr;
  return &m.messages;
}

template <bool propto, bool jacobian>
double value_and_gradient(const stan::model::model_base& model, const double* x, int64_t d,
                          double* gradient, std::ostream* messages) {
  if (gradient == nullptr && !propto) {
    Vector z = Eigen::Map<const Vector>(x, d);
    return model.template log_prob<false, jacobian>(z, messages);
  }
  // With propto and doubles every term would be a constant: it needs variables even for a value.
  const stan::math::nested_rev_autodiff nested;
  Eigen::Matrix<var, -1, 1> z(d);
  for (int64_t i = 0; i < d; ++i) z[i] = x[i];
  var lp = model.template log_prob<propto, jacobian>(z, messages);
  const double value = lp.val();
  if (gradient != nullptr) {
    lp.grad();
    for (int64_t i = 0; i < d; ++i) gradient[i] = z[i].adj();
  }
  return value;
}

double evaluate(const stan::model::model_base& model, bool propto, bool jacobian, const double* x,
                int64_t d, double* gradient, std::ostream* messages) {
  if (propto)
    return jacobian ? value_and_gradient<true, true>(model, x, d, gradient, messages)
                    : value_and_gradient<true, false>(model, x, d, gradient, messages);
  return jacobian ? value_and_gradient<false, true>(model, x, d, gradient, messages)
                  : value_and_gradient<false, false>(model, x, d, gradient, messages);
}

bool all_finite(const double* x, int64_t n) {
  return std::all_of(x, x + n, [](double v) { return std::isfinite(v); });
}

std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const auto& line : lines) out += line + '\n';
  return out;
}

}  // namespace

#define HB_EXPORT extern "C" __attribute__((visibility("default")))

HB_EXPORT int32_t hb_interface() { return kInterface; }

// A model with its data; null with the words in `error` if the program throws.
HB_EXPORT hb_model* hb_new(const hb_array* data, int64_t count, uint32_t seed, char* error,
                           int64_t capacity) {
  faults::install();
  std::string words;
  std::unique_ptr<hb_model> made;
  const Status status = guarded(words, [&] {
    made.reset(new hb_model());
    Arrays context(data, count);
    made->model.reset(&new_model(context, seed, &made->messages));
  });
  if (status == kOk) return made.release();
  if (made != nullptr && !made->messages.str().empty()) words += "\n" + made->messages.str();
  copied(words, error, capacity);
  return nullptr;
}

// The same program with other data; if it throws, the old model stays as it was.
HB_EXPORT int32_t hb_rebind(hb_model* m, const hb_array* data, int64_t count, uint32_t seed) {
  return guarded(m->error, [&] {
    Arrays context(data, count);
    program(*m);
    m->model.reset(&new_model(context, seed, listener(*m)));
  });
}

// Free the program; the handle stays good for telling later calls so.
HB_EXPORT void hb_close(hb_model* m) {
  std::string words;
  guarded(words, [&] { m->model.reset(); });
}

HB_EXPORT void hb_delete(hb_model* m) {
  hb_close(m);
  delete m;
}

// The words of the last call that failed.
HB_EXPORT int64_t hb_error(const hb_model* m, char* out, int64_t capacity) {
  return copied(m->error, out, capacity);
}

// What the program printed since this was last asked.
HB_EXPORT int64_t hb_messages(hb_model* m, char* out, int64_t capacity) {
  const std::string text = m->messages.str();
  if (out != nullptr) m->messages.str("");
  return copied(text, out, capacity);
}

// Names, one a line: `what` is 0 unconstrained, 1 constrained, 2 compiler and stanc.
HB_EXPORT int64_t hb_names(hb_model* m, int32_t what, int32_t transformed, int32_t generated,
                           char* out, int64_t capacity) {
  std::vector<std::string> names;
  const Status status = guarded(m->error, [&] {
    if (what == 0)
      program(*m).unconstrained_param_names(names, false, false);
    else if (what == 1)
      program(*m).constrained_param_names(names, transformed != 0, generated != 0);
    else
      names = program(*m).model_compile_info();
  });
  return status == kOk ? copied(joined(names), out, capacity) : -1;
}

// −1 with words if the model is closed.
HB_EXPORT int64_t hb_dimension(hb_model* m) {
  int64_t found = -1;
  guarded(m->error, [&] { found = static_cast<int64_t>(program(*m).num_params_r()); });
  return found;
}

// One point: its value in `lp`, its gradient unless that is null; the words of a failure in
// `words`. A point that the program rejects is −inf, one that fails otherwise NaN.
static int32_t one_point(hb_model* m, int64_t d, bool propto, bool jacobian, const double* x,
                         double* lp, double* gradient, std::string& words) {
  *lp = kNaN;
  int32_t status = guarded(words, [&] {
    *lp = evaluate(program(*m, d), propto, jacobian, x, d, gradient, listener(*m));
  });
  if (status != kOk) {
    *lp = status == kReject ? -std::numeric_limits<double>::infinity() : kNaN;
    if (gradient != nullptr) std::fill(gradient, gradient + d, kNaN);
  } else if (!std::isfinite(*lp) || (gradient != nullptr && !all_finite(gradient, d))) {
    status = kNotFinite;
    words = "the log density or its gradient is not finite";
  }
  return status;
}

// Log density and gradient at each row of x (count × d); the other rows go on if one fails.
// Returns how many rows have a status other than 0; the first one's words are kept.
HB_EXPORT int64_t hb_log_density(hb_model* m, int32_t propto, int32_t jacobian, int64_t count,
                                 int64_t d, const double* x, double* lp, double* gradient,
                                 int32_t* status) {
  int64_t bad = 0;
  std::string words;
  for (int64_t i = 0; i < count; ++i) {
    double* row = gradient == nullptr ? nullptr : gradient + i * d;
    status[i] = one_point(m, d, propto != 0, jacobian != 0, x + i * d, lp + i, row, words);
    if (status[i] != kOk && bad++ == 0) m->error = words;
  }
  return bad;
}

// The same for a point that keeps its buffers; its value is returned.
HB_EXPORT double hb_evaluate(hb_point* p) {
  double lp;
  p->status = one_point(p->model, p->dimension, p->propto != 0, p->jacobian != 0, p->x, &lp,
                        p->gradient, p->model->error);
  return lp;
}

HB_EXPORT hb_rng* hb_rng_new(uint32_t seed, uint32_t stream) {
  hb_rng* made = nullptr;
  std::string words;
  guarded(words, [&] { made = new hb_rng{stan::services::util::create_rng(seed, stream)}; });
  return made;
}

HB_EXPORT void hb_rng_delete(hb_rng* rng) { delete rng; }

// Constrained values of each row of x, with transformed parameters and generated quantities if
// they are wanted; `out` is count × width. Rows that fail are NaN; returns how many.
HB_EXPORT int64_t hb_constrain(hb_model* m, hb_rng* rng, int32_t transformed, int32_t generated,
                               int64_t count, int64_t d, const double* x, int64_t width,
                               double* out, int32_t* status) {
  int64_t bad = 0;
  std::string words;
  for (int64_t i = 0; i < count; ++i) {
    double* row = out + i * width;
    status[i] = guarded(words, [&] {
      Vector z = Eigen::Map<const Vector>(x + i * d, d);
      Vector values;
      program(*m, d).write_array(rng->rng, z, values, transformed != 0, generated != 0, listener(*m));
      if (values.size() != width)
        throw std::length_error("the program wrote " + std::to_string(values.size())
                                + " values where " + std::to_string(width) + " were expected");
      std::copy(values.data(), values.data() + width, row);
    });
    if (status[i] != kOk) {
      std::fill(row, row + width, kNaN);
      if (bad++ == 0) m->error = words;
    }
  }
  return bad;
}

// The unconstrained point of parameters given as arrays; `out` has the model's dimension.
HB_EXPORT int32_t hb_unconstrain(hb_model* m, const hb_array* values, int64_t count,
                                  int64_t d, double* out) {
  return guarded(m->error, [&] {
    Arrays context(values, count);
    Vector z(d);
    program(*m, d).transform_inits(context, z, listener(*m));
    if (z.size() != d)
      throw std::length_error("the program gave a point of another dimension");
    std::copy(z.data(), z.data() + z.size(), out);
  });
}

// Give the memory of the automatic differentiation back.
HB_EXPORT void hb_free_tape() {
  std::string words;
  guarded(words, [] {
    stan::math::recover_memory();
    stan::math::ChainableStack::instance_->memalloc_.free_all();
  });
}
