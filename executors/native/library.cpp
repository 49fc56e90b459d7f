#include "executors/native/library.hpp"

#include "functions/native.h"

#include <algorithm>
#include <deque>
#include <limits>

#include <dlfcn.h>

namespace squall::executors::native {

namespace {

using functions::value;

/// Values as the ABI shows them. What it refers to stays in place.
class views {
public:
  squall_value of(const value& v) {
    squall_value out{};
    if (const auto* t = v.as_tensor()) {
      out.kind = SQUALL_TENSOR;
      out.datatype = static_cast<std::int32_t>(t->type);
      out.rank = static_cast<std::uint32_t>(t->shape.size());
      out.shape = t->shape.data();
      out.data = t->data.data();
      out.size = t->data.size();
    } else if (const auto* list = v.as_list()) {
      std::vector<squall_value> elements;
      elements.reserve(list->size());
      for (const auto& element : *list)
        elements.push_back(of(element));
      out.kind = SQUALL_LIST;
      out.count = static_cast<std::uint32_t>(elements.size());
      lists_.push_back(std::move(elements));
      out.elements = lists_.back().data();
    }
    return out;
  }

private:
  std::deque<std::vector<squall_value>> lists_;
};

value value_of(const squall_value& v) {
  if (v.kind == SQUALL_TENSOR)
    return {functions::tensor{static_cast<functions::datatype>(v.datatype),
                              {v.shape, v.shape + v.rank},
                              shared_bytes::copy_of(v.data, v.size)}};
  functions::value_list list;
  if (v.kind == SQUALL_LIST)
    for (std::uint32_t i = 0; i < v.count; ++i)
      list.push_back(value_of(v.elements[i]));
  return v.kind == SQUALL_LIST ? value{std::move(list)} : value{};
}

squall_port flat(const functions::port& p) {
  return {p.name.c_str(),
          static_cast<std::int32_t>(p.type),
          static_cast<std::uint32_t>(p.shape.size()),
          p.shape.data(),
          p.list ? 1 : 0,
          p.optional ? 1 : 0};
}

std::vector<squall_port> flat(const std::vector<functions::port>& ports) {
  std::vector<squall_port> out;
  for (const auto& p : ports)
    out.push_back(flat(p));
  return out;
}

/// An output while the function writes it.
struct pending_output {
  std::uint32_t port = 0;
  functions::datatype type{};
  functions::shape shape;
  services::block memory;
};

struct item_state {
  std::vector<pending_output> outputs;
  std::optional<std::string> failure;
};

/// One run: the context that the function sees, and what it has said so far.
class run_state {
public:
  run_state(const wire::worker::load& spec, services& host, std::size_t items)
      : spec_(spec), host_(host), items_(std::max<std::size_t>(items, 1)) {
    context_.version = SQUALL_NATIVE_VERSION;
    context_.host = this;
    context_.log = [](squall_context* c, std::int32_t level, const char* text) {
      self(c).host_.log(std::clamp(level, 0, 3), text == nullptr ? "" : text);
    };
    context_.fail = [](squall_context* c, std::uint32_t item, const char* text) { self(c).fail(item, text); };
    context_.cancelled = [](squall_context* c) -> std::int32_t { return self(c).host_.cancelled() ? 1 : 0; };
    context_.time_left = [](squall_context* c) { return self(c).time_left(); };
    context_.output = [](squall_context* c, std::uint32_t item, std::uint32_t port, std::int32_t type,
                         std::uint32_t rank, const std::int64_t* shape, std::size_t size) {
      return self(c).output(item, port, type, {shape, shape + rank}, size);
    };
    context_.emit = [](squall_context* c, std::uint32_t item) { return self(c).emit(item); };
    context_.get = [](squall_context* c, const char* key, const void** data, std::size_t* size) {
      return self(c).get(key, data, size);
    };
    context_.put = [](squall_context* c, const char* key, const void* data, std::size_t size) {
      return self(c).say(self(c).host_.put(key, shared_bytes::copy_of(data, size)));
    };
    context_.erase = [](squall_context* c, const char* key) { return self(c).say(self(c).host_.erase(key)); };
    context_.call = [](squall_context* c, std::uint32_t item, const char* target, std::uint32_t version,
                       const squall_named_value* inputs, std::size_t input_count, const squall_named_value** outputs,
                       std::size_t* output_count) {
      return self(c).call(item, target, version, {inputs, input_count}, outputs, output_count);
    };
    context_.problem = [](squall_context* c) { return self(c).problem_.c_str(); };
  }
  run_state(const run_state&) = delete;
  run_state& operator=(const run_state&) = delete;

  [[nodiscard]] squall_context* context() { return &context_; }
  [[nodiscard]] std::vector<item_state>& items() { return items_; }
  [[nodiscard]] const std::string& problem() const { return problem_; }

  /// The outputs of an item, one per port; what it did not make is absent.
  [[nodiscard]] port_values take_outputs(std::uint32_t item) {
    port_values values(spec_.outputs.size());
    for (auto& made : std::exchange(items_[item].outputs, {})) {
      value v{functions::tensor{made.type, std::move(made.shape), made.memory.freeze()}};
      if (!spec_.outputs[made.port].list)
        values[made.port] = std::move(v);
      else if (auto* list = std::get_if<functions::value_list>(&values[made.port].data))
        list->push_back(std::move(v));
      else
        values[made.port].data = functions::value_list{std::move(v)};
    }
    return values;
  }

private:
  static run_state& self(squall_context* c) { return *static_cast<run_state*>(c->host); }

  std::int32_t say(const result<>& r) {
    if (r.ok())
      return SQUALL_OK;
    problem_ = r.error().message;
    return static_cast<std::int32_t>(r.error().code);
  }

  void fail(std::uint32_t item, const char* text) {
    problem_ = text == nullptr ? "" : text;
    if (item < items_.size())
      items_[item].failure = problem_;
  }

  std::int64_t time_left() {
    const auto left = host_.time_left();
    return left ? left->count() : std::numeric_limits<std::int64_t>::max();
  }

  void* output(std::uint32_t item, std::uint32_t port, std::int32_t type, functions::shape shape, std::size_t size) {
    const auto refuse = [&](const std::string& why) -> void* {
      fail(item, why.c_str());
      return nullptr;
    };
    if (item >= items_.size() || port >= spec_.outputs.size())
      return refuse("there is no output " + std::to_string(port) + " of item " + std::to_string(item));
    const auto& name = spec_.outputs[port].name;
    if (type < 1 || type > static_cast<std::int32_t>(functions::datatype::bytes))
      return refuse("output '" + name + "': " + std::to_string(type) + " is no datatype");
    const auto datatype = static_cast<functions::datatype>(type);
    const auto count = functions::element_count(shape);
    if (!count.ok())
      return refuse("output '" + name + "': " + count.error().message);
    if (const auto each = functions::element_size(datatype); each > 0 && *count * each != size)
      return refuse("output '" + name + "': " + std::to_string(size) + " bytes do not fit the shape " +
                    functions::to_string(shape));
    auto memory = host_.allocate(size);
    if (!memory.ok())
      return refuse("output '" + name + "': " + memory.error().message);
    static std::byte nothing{};
    auto& made =
        items_[item].outputs.emplace_back(pending_output{port, datatype, std::move(shape), *std::move(memory)});
    return made.memory.bytes.empty() ? &nothing : made.memory.bytes.data();
  }

  std::int32_t emit(std::uint32_t item) {
    if (item >= items_.size())
      return say(error{errc::invalid_argument, "there is no item " + std::to_string(item), {}});
    return say(host_.emit(item, take_outputs(item)));
  }

  std::int32_t get(const char* key, const void** data, std::size_t* size) {
    auto found = host_.get(key);
    if (!found.ok())
      return say(found.error());
    read_.push_back(*std::move(found));
    *data = read_.back().data();
    *size = read_.back().size();
    return SQUALL_OK;
  }

  std::int32_t call(std::uint32_t item, const char* target, std::uint32_t version,
                    std::span<const squall_named_value> inputs, const squall_named_value** outputs,
                    std::size_t* output_count) {
    std::vector<wire::wire_value> named;
    for (const auto& input : inputs)
      named.push_back({input.name, value_of(input.value)});
    auto answered = host_.call(item, target, version, std::move(named));
    if (!answered.ok())
      return say(answered.error());
    returned_.push_back(*std::move(answered));
    std::vector<squall_named_value> flat_values;
    for (const auto& v : returned_.back())
      flat_values.push_back({v.name.c_str(), views_.of(v.value)});
    returned_views_.push_back(std::move(flat_values));
    *outputs = returned_views_.back().data();
    *output_count = returned_views_.back().size();
    return SQUALL_OK;
  }

  const wire::worker::load& spec_;
  services& host_;
  std::vector<item_state> items_;
  squall_context context_{};
  std::string problem_;
  views views_;
  std::deque<shared_bytes> read_;
  std::deque<std::vector<wire::wire_value>> returned_;
  std::deque<std::vector<squall_named_value>> returned_views_;
};

// -- loading

bool fits(const squall_port& described, const functions::port& registered) {
  return registered.name == described.name && static_cast<std::int32_t>(registered.type) == described.datatype &&
         registered.list == (described.list != 0) && described.rank == registered.shape.size() &&
         std::equal(registered.shape.begin(), registered.shape.end(), described.shape,
                    [](std::int64_t a, std::int64_t b) { return a == b || a == -1 || b == -1; });
}

result<> check_ports(const std::string& what, std::span<const squall_port> described,
                     const std::vector<functions::port>& registered) {
  if (described.size() != registered.size())
    return {errc::invalid_argument, "the library has " + std::to_string(described.size()) + " " + what +
                                        "s, registered are " + std::to_string(registered.size())};
  for (std::size_t i = 0; i < described.size(); ++i)
    if (!fits(described[i], registered[i]))
      return {errc::invalid_argument, what + " " + std::to_string(i) + " is '" + described[i].name +
                                          "' in the library, and differs from the registered '" + registered[i].name +
                                          "' (" + functions::describe(registered[i]) + ")"};
  return {};
}

result<const squall_native_function*> open_library(const std::string& path, const std::string& name) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    return {errc::invalid_argument, name + " is no library that can be loaded: " + dlerror()};
  const auto entry = reinterpret_cast<decltype(&squall_function)>(dlsym(library, "squall_function"));
  if (entry == nullptr)
    return {errc::invalid_argument, name + " does not export squall_function() (functions/native.h)"};
  const auto* found = entry();
  if (found == nullptr || found->run == nullptr)
    return {errc::invalid_argument, "squall_function() of " + name + " gives no function"};
  if (found->version < 1 || found->version > SQUALL_NATIVE_VERSION)
    return {errc::unsupported, name + " was built for version " + std::to_string(found->version) +
                                   " of the interface, this node speaks 1 to " + std::to_string(SQUALL_NATIVE_VERSION)};
  return found;
}

class loaded_function final : public function {
public:
  loaded_function(const squall_native_function* entry, const wire::worker::load& request)
      : entry_(entry), request_(request) {}
  ~loaded_function() override {
    if (loaded_ && entry_->unload != nullptr)
      entry_->unload(instance_);
  }

  result<> start(services& host) {
    if (entry_->describe != nullptr)
      if (const auto* d = entry_->describe()) {
        SQUALL_TRY(check_ports("input", {d->inputs, d->input_count}, request_.inputs));
        SQUALL_TRY(check_ports("output", {d->outputs, d->output_count}, request_.outputs));
      }
    if (entry_->load == nullptr) {
      loaded_ = true;
      return {};
    }
    const auto inputs = flat(request_.inputs);
    const auto outputs = flat(request_.outputs);
    std::vector<const char*> parameters;
    for (const auto& [name, text] : request_.spec.parameters) {
      parameters.push_back(name.c_str());
      parameters.push_back(text.c_str());
    }
    const squall_load what{
        request_.function.c_str(), inputs.data(),        inputs.size(), outputs.data(), outputs.size(),
        parameters.data(),         parameters.size() / 2};
    run_state state{request_, host, 0};
    if (const auto status = entry_->load(state.context(), &what, &instance_); status != SQUALL_OK)
      return {errc::failed, "its load() failed" + (state.problem().empty() ? " with status " + std::to_string(status)
                                                                           : ": " + state.problem())};
    loaded_ = true;
    return {};
  }

  std::vector<result<port_values>> run(std::span<const port_values> items, services& host) override {
    views flat_views;
    std::vector<squall_value> inputs;
    for (const auto& item : items)
      for (const auto& v : item)
        inputs.push_back(flat_views.of(v));
    const squall_batch batch{static_cast<std::uint32_t>(items.size()),
                             static_cast<std::uint32_t>(request_.inputs.size()), inputs.data()};
    run_state state{request_, host, items.size()};
    const auto status = entry_->run(instance_, state.context(), &batch);
    std::vector<result<port_values>> results;
    for (std::uint32_t i = 0; i < batch.items; ++i)
      results.push_back(outcome_of(state, i, status));
    return results;
  }

private:
  static result<port_values> outcome_of(run_state& state, std::uint32_t item, std::int32_t status) {
    if (const auto& why = state.items()[item].failure)
      return error{errc::failed, why->empty() ? "the function failed and said nothing" : *why, {}};
    if (status == SQUALL_CANCELLED)
      return error{errc::cancelled, "the function stopped because it was cancelled", {}};
    if (status != SQUALL_OK)
      return error{errc::failed,
                   "the function failed with status " + std::to_string(status) +
                       (state.problem().empty() ? "" : ": " + state.problem()),
                   {}};
    return state.take_outputs(item);
  }

  const squall_native_function* entry_;
  const wire::worker::load request_;
  void* instance_ = nullptr;
  bool loaded_ = false;
};

} // namespace

result<std::unique_ptr<function>> function::load(const std::string& path, const wire::worker::load& request,
                                                 services& host) {
  SQUALL_ASSIGN(entry, open_library(path, request.spec.target));
  auto made = std::make_unique<loaded_function>(entry, request);
  SQUALL_TRY(made->start(host));
  return std::unique_ptr<function>(std::move(made));
}

} // namespace squall::executors::native
