#pragma once

#include "functions/builtin/builtin.hpp"

#include <chrono>
#include <utility>

/// What the files of this folder share.
namespace squall::functions::builtins::detail {

using outputs = result<std::vector<value>>;

/// An instance around a callable (inputs, context) -> outputs. The callable is called with inputs that fit the
/// builtin's ports.
template <class Run>
[[nodiscard]] std::unique_ptr<instance> instance_of(Run run) {
  class from_callable final : public instance {
  public:
    explicit from_callable(Run callable) : run_(std::move(callable)) {}
    outputs run(std::span<const value> inputs, const run_context& context) override { return run_(inputs, context); }

  private:
    Run run_;
  };
  return std::make_unique<from_callable>(std::move(run));
}

/// For builtins without parameters, whose whole work is a function of the inputs.
template <outputs (*Run)(std::span<const value>)>
result<std::unique_ptr<instance>> make_plain(const settings&) {
  return instance_of([](std::span<const value> inputs, const run_context&) { return Run(inputs); });
}

[[nodiscard]] inline error invalid(std::string message) { return {errc::invalid_argument, std::move(message)}; }

/// A value that is known to be a tensor.
[[nodiscard]] inline const tensor& as_tensor(const value& v) {
  SQUALL_CHECK(v.as_tensor() != nullptr, v.data.index());
  return *v.as_tensor();
}
[[nodiscard]] inline const value_list& as_list(const value& v) {
  SQUALL_CHECK(v.as_list() != nullptr, v.data.index());
  return *v.as_list();
}

/// The only element of a BYTES [1] tensor.
[[nodiscard]] inline result<std::string_view> only_bytes(const value& v) {
  SQUALL_ASSIGN(elements, bytes_elements(as_tensor(v)));
  SQUALL_CHECK(elements.size() == 1, elements.size());
  return elements.front();
}

template <class T>
[[nodiscard]] value one(datatype type, T number) {
  return {tensor{type, {1}, shared_bytes::copy_of(&number, sizeof number)}};
}

/// Memory for the elements of a result, which `done` turns into a tensor without a copy.
template <class T>
class buffer {
public:
  /// Not initialised.
  explicit buffer(std::size_t count) : count_(count), memory_(std::make_shared_for_overwrite<T[]>(count)) {}
  [[nodiscard]] static buffer zeros(std::size_t count) {
    buffer out{count};
    std::fill_n(out.data(), count, T{});
    return out;
  }

  [[nodiscard]] T* data() { return memory_.get(); }
  [[nodiscard]] T& operator[](std::size_t i) { return memory_[i]; }
  [[nodiscard]] value done(datatype type, shape s) && {
    const auto bytes = std::as_bytes(std::span{memory_.get(), count_});
    return {tensor{type, std::move(s), shared_bytes{std::move(memory_), bytes}}};
  }

private:
  std::size_t count_;
  std::shared_ptr<T[]> memory_;
};

/// Whether a long run should end: it was cancelled, or its deadline passed. Counts from its construction.
class stop_check {
public:
  explicit stop_check(const run_context& context) : context_(context), begin_(std::chrono::steady_clock::now()) {}

  [[nodiscard]] result<> operator()() const {
    if (context_.cancelled && context_.cancelled->load(std::memory_order_relaxed))
      return {errc::cancelled, "cancelled while it ran"};
    if (context_.time_left && elapsed() >= *context_.time_left)
      return {errc::deadline_exceeded, "the call's deadline passed while it ran"};
    return {};
  }
  [[nodiscard]] duration elapsed() const { return std::chrono::steady_clock::now() - begin_; }

private:
  const run_context& context_;
  std::chrono::steady_clock::time_point begin_;
};

// The builtins of each file of this folder; all() joins them.
[[nodiscard]] std::vector<builtin> load_builtins();
[[nodiscard]] std::vector<builtin> codec_builtins();
[[nodiscard]] std::vector<builtin> image_builtins();
[[nodiscard]] std::vector<builtin> recipe_builtins();
[[nodiscard]] std::vector<builtin> box_builtins();
[[nodiscard]] std::vector<builtin> tensor_builtins();
[[nodiscard]] std::vector<builtin> text_builtins();
[[nodiscard]] std::vector<builtin> ctc_builtins();
[[nodiscard]] std::vector<builtin> file_builtins();
[[nodiscard]] std::vector<builtin> table_builtins();
[[nodiscard]] std::vector<builtin> table_group_builtins();
[[nodiscard]] std::vector<builtin> table_join_builtins();
[[nodiscard]] std::vector<builtin> table_csv_builtins();
[[nodiscard]] std::vector<builtin> composite_builtins();

} // namespace squall::functions::builtins::detail
