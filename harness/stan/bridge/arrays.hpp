// Arrays of NumPy's as the data of a Stan program.
#ifndef HARNESS_BRIDGE_ARRAYS_HPP
#define HARNESS_BRIDGE_ARRAYS_HPP

#include <algorithm>
#include <complex>
#include <cstdint>
#include <cstring>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <stan/io/var_context.hpp>

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

enum Kind : int32_t { kF64 = 0, kI32 = 1, kI64 = 2 };

// Stan's view of arrays: values with the first index fastest, integers also as reals.
class Arrays final : public stan::io::var_context {
 public:
  Arrays(const hb_array* arrays, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      names_.push_back(arrays[i].name);
      arrays_.push_back(&arrays[i]);
    }
  }

  bool contains_r(const std::string& name) const override { return find(name) != nullptr; }

  bool contains_i(const std::string& name) const override {
    const hb_array* a = find(name);
    return a != nullptr && a->kind != kF64;
  }

  std::vector<double> vals_r(const std::string& name) const override {
    std::vector<double> out;
    const hb_array* a = find(name);
    if (a == nullptr) return out;
    out.resize(size(*a));
    double* to = out.data();
    visit(*a, [&to](double value) { *to++ = value; });
    return out;
  }

  std::vector<int> vals_i(const std::string& name) const override {
    std::vector<int> out;
    const hb_array* a = find(name);
    if (a == nullptr || a->kind == kF64) return out;
    out.resize(size(*a));
    int* to = out.data();
    visit(*a, [&to, &name](double value) {
      if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max())
        throw std::domain_error("variable " + name + ": an integer beyond 32 bits");
      *to++ = static_cast<int>(value);
    });
    return out;
  }

  // Pure virtual from Stan 2.28, and not there in 2.27, hence no `override`. Complex values come
  // with a trailing dimension of 2, all real parts first because that dimension is the slowest.
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

  static std::size_t size(const hb_array& a) {
    std::size_t count = 1;
    for (int32_t k = 0; k < a.ndim; ++k) count *= static_cast<std::size_t>(a.shape[k]);
    return count;
  }

  template <typename Take>
  static void visit(const hb_array& a, Take take) {
    if (a.kind == kF64)
      each<double>(a, take);
    else if (a.kind == kI32)
      each<int32_t>(a, take);
    else
      each<int64_t>(a, take);
  }

  // Call `take` with every element, the first index running fastest: in a loop of its own, for a
  // minibatch is read again and again.
  template <typename T, typename Take>
  static void each(const hb_array& a, Take& take) {
    if (size(a) == 0) return;
    const int64_t rows = a.ndim == 0 ? 1 : a.shape[0];
    const int64_t step = a.ndim == 0 ? 0 : a.strides[0];
    std::vector<int64_t> index(static_cast<std::size_t>(a.ndim), 0);
    const char* at = static_cast<const char*>(a.data);
    for (;;) {
      const char* cell = at;
      for (int64_t i = 0; i < rows; ++i, cell += step) take(static_cast<double>(read<T>(cell)));
      int32_t k = 1;
      for (; k < a.ndim; ++k) {
        at += a.strides[k];
        if (++index[k] < a.shape[k]) break;
        at -= a.strides[k] * a.shape[k];
        index[k] = 0;
      }
      if (k >= a.ndim) return;
    }
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

}  // namespace
#endif
