// A Stan program's log density, gradient and transforms behind a plain C interface.
//
// Compiled once per CmdStan and set of flags, then linked with what stanc makes of a program.
// Everything that crosses the border is plain data; every function that runs the program's code
// turns its C++ exceptions into a status and a message, so nothing a program throws can leave
// this file. C++14, for CmdStan 2.27 to the newest.

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <stan/io/var_context.hpp>
#include <stan/math/rev/core.hpp>
#include <stan/model/model_base.hpp>
#include <stan/services/util/create_rng.hpp>

// What stanc generates; it owns nothing and takes its data from the context during the call.
stan::model::model_base& new_model(stan::io::var_context& context, unsigned int seed,
                                   std::ostream* messages);

namespace {

using rng_t = decltype(stan::services::util::create_rng(0U, 0U));
using stan::math::var;
using Vector = Eigen::VectorXd;

constexpr int32_t kInterface = 1;
constexpr std::size_t kMostMessages = 1 << 16;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

enum Kind : int32_t { kF64 = 0, kI32 = 1, kI64 = 2 };
enum Status : int32_t { kOk = 0, kReject = 1, kFailed = 2, kNotFinite = 3 };

}  // namespace

extern "C" {

// An array of NumPy's: shape, and strides in bytes. Read only during the call it is passed to.
struct hb_array {
  const char* name;
  int32_t kind;
  int32_t ndim;
  const int64_t* shape;
  const int64_t* strides;
  const void* data;
};

}  // extern "C"

namespace {

// Stan's view of arrays: values with the first index fastest, integers also as reals.
class Arrays final : public stan::io::var_context {
 public:
  Arrays(const hb_array* arrays, int64_t count) {
    for (int64_t i = 0; i < count; ++i) names_.push_back(arrays[i].name), arrays_.push_back(&arrays[i]);
  }

  bool contains_r(const std::string& name) const override { return find(name) != nullptr; }

  bool contains_i(const std::string& name) const override {
    const hb_array* a = find(name);
    return a != nullptr && a->kind != kF64;
  }

  std::vector<double> vals_r(const std::string& name) const override {
    std::vector<double> out;
    const hb_array* a = find(name);
    if (a != nullptr) visit(*a, [&out](double value) { out.push_back(value); }, out);
    return out;
  }

  std::vector<int> vals_i(const std::string& name) const override {
    std::vector<int> out;
    const hb_array* a = find(name);
    if (a == nullptr || a->kind == kF64) return out;
    visit(*a,
          [&out, &name](double value) {
            if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max())
              throw std::domain_error("variable " + name + ": an integer beyond 32 bits");
            out.push_back(static_cast<int>(value));
          },
          out);
    return out;
  }

  // Pure virtual from Stan 2.28: complex values come with a trailing dimension of 2, all real
  // parts first because that dimension is the slowest.
  std::vector<std::complex<double>> vals_c(const std::string& name) const {
    const std::vector<double> flat = vals_r(name);
    const std::size_t half = flat.size() / 2;
    std::vector<std::complex<double>> out(half);
    for (std::size_t i = 0; i < half; ++i) out[i] = {flat[i], flat[half + i]};
    return out;
  }

  std::vector<size_t> dims_r(const std::string& name) const override {
    const hb_array* a = find(name);
    if (a == nullptr) return {};
    return std::vector<size_t>(a->shape, a->shape + a->ndim);
  }

  std::vector<size_t> dims_i(const std::string& name) const override {
    return contains_i(name) ? dims_r(name) : std::vector<size_t>();
  }

  void names_r(std::vector<std::string>& names) const override { names = names_; }

  void names_i(std::vector<std::string>& names) const override {
    names.clear();
    for (const auto& name : names_)
      if (contains_i(name)) names.push_back(name);
  }

  void validate_dims(const std::string& stage, const std::string& name,
                     const std::string& base_type,
                     const std::vector<size_t>& declared) const override {
    const bool integer = base_type == "int";
    if (integer ? !contains_i(name) : !contains_r(name)) {
      const bool empty = std::find(declared.begin(), declared.end(), 0) != declared.end();
      if (empty && !contains_r(name)) return;  // nothing is needed for an array of size zero
      std::stringstream words;
      words << (contains_r(name) ? "int variable contained non-int values" : "variable does not exist")
            << "; processing stage=" << stage << "; variable name=" << name
            << "; base type=" << base_type;
      throw std::runtime_error(words.str());
    }
    const std::vector<size_t> given = dims_r(name);
    if (given == declared) return;
    std::stringstream words;
    words << "mismatch in the dimensions of " << name << ": declared=";
    dims_msg(words, declared);
    words << "; found=";
    dims_msg(words, given);
    words << "; processing stage=" << stage;
    throw std::runtime_error(words.str());
  }

 private:
  const hb_array* find(const std::string& name) const {
    for (std::size_t i = 0; i < names_.size(); ++i)
      if (names_[i] == name) return arrays_[i];
    return nullptr;
  }

  // Call `take` with every element, the first index running fastest.
  template <typename Take, typename Out>
  static void visit(const hb_array& a, Take take, Out& out) {
    int64_t count = 1;
    for (int32_t k = 0; k < a.ndim; ++k) count *= a.shape[k];
    out.reserve(static_cast<std::size_t>(count));
    std::vector<int64_t> index(static_cast<std::size_t>(a.ndim), 0);
    const char* at = static_cast<const char*>(a.data);
    for (int64_t i = 0; i < count; ++i) {
      take(element(a.kind, at));
      for (int32_t k = 0; k < a.ndim; ++k) {
        at += a.strides[k];
        if (++index[k] < a.shape[k]) break;
        at -= a.strides[k] * a.shape[k];
        index[k] = 0;
      }
    }
  }

  static double element(int32_t kind, const char* at) {
    if (kind == kF64) return read<double>(at);
    if (kind == kI32) return read<int32_t>(at);
    return static_cast<double>(read<int64_t>(at));
  }

  template <typename T>
  static T read(const char* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }

  std::vector<std::string> names_;
  std::vector<const hb_array*> arrays_;
};

std::string words_of(const std::exception& error) {
  const std::string said = error.what();
  return said.empty() ? "an exception without words" : said;
}

// Run `body`; return its status, and the words of what it threw in `error`.
template <typename Body>
Status guarded(std::string& error, Body body) noexcept {
  try {
    try {
      body();
      return kOk;
    } catch (const std::domain_error& e) {
      error = words_of(e);
      return kReject;
    } catch (const std::exception& e) {
      error = words_of(e);
      return kFailed;
    } catch (...) {
      error = "something that is no std::exception was thrown";
      return kFailed;
    }
  } catch (...) {
    return kFailed;  // not even the words could be kept
  }
}

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

}  // extern "C"

namespace {

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

double evaluate(const hb_model& m, bool propto, bool jacobian, const double* x, int64_t d,
                double* gradient, std::ostream* messages) {
  const auto& model = *m.model;
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
    m->model.reset(&new_model(context, seed, listener(*m)));
  });
}

HB_EXPORT void hb_delete(hb_model* m) { delete m; }

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
      m->model->unconstrained_param_names(names, false, false);
    else if (what == 1)
      m->model->constrained_param_names(names, transformed != 0, generated != 0);
    else
      names = m->model->model_compile_info();
  });
  return status == kOk ? copied(joined(names), out, capacity) : -1;
}

HB_EXPORT int64_t hb_dimension(const hb_model* m) {
  return static_cast<int64_t>(m->model->num_params_r());
}

// Log density, and its gradient unless `gradient` is null, at each row of x (count × dimension).
// A row that the program rejects is −inf, one that fails otherwise NaN; the others go on.
// Returns how many rows have a status other than 0; the first one's words are kept.
HB_EXPORT int64_t hb_log_density(hb_model* m, int32_t propto, int32_t jacobian, int64_t count,
                                 const double* x, double* lp, double* gradient, int32_t* status) {
  const int64_t d = hb_dimension(m);
  int64_t bad = 0;
  std::string words;
  for (int64_t i = 0; i < count; ++i) {
    double* row = gradient == nullptr ? nullptr : gradient + i * d;
    lp[i] = kNaN;
    status[i] = guarded(words, [&] {
      lp[i] = evaluate(*m, propto != 0, jacobian != 0, x + i * d, d, row, listener(*m));
    });
    if (status[i] != kOk) {
      lp[i] = status[i] == kReject ? -std::numeric_limits<double>::infinity() : kNaN;
      if (row != nullptr) std::fill(row, row + d, kNaN);
    } else if (!std::isfinite(lp[i]) || (row != nullptr && !all_finite(row, d))) {
      status[i] = kNotFinite;
      words = "the log density or its gradient is not finite";
    }
    if (status[i] != kOk && bad++ == 0) m->error = words;
  }
  return bad;
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
                               int64_t count, const double* x, int64_t width, double* out,
                               int32_t* status) {
  const int64_t d = hb_dimension(m);
  int64_t bad = 0;
  std::string words;
  for (int64_t i = 0; i < count; ++i) {
    double* row = out + i * width;
    status[i] = guarded(words, [&] {
      Vector z = Eigen::Map<const Vector>(x + i * d, d);
      Vector values;
      m->model->write_array(rng->rng, z, values, transformed != 0, generated != 0, listener(*m));
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
HB_EXPORT int32_t hb_unconstrain(hb_model* m, const hb_array* values, int64_t count, double* out) {
  return guarded(m->error, [&] {
    Arrays context(values, count);
    Vector z(hb_dimension(m));
    m->model->transform_inits(context, z, listener(*m));
    if (z.size() != hb_dimension(m))
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
