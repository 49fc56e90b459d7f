#include "executors/detail/sequence_table.hpp"

#include <algorithm>

namespace squall::executors {

namespace {

using functions::port;
using functions::value;

std::size_t index_of(const std::vector<port>& ports, const std::string& name) {
  const auto found = std::find_if(ports.begin(), ports.end(), [&](const port& p) { return p.name == name; });
  SQUALL_CHECK(found != ports.end(), name); // validate() made sure
  return static_cast<std::size_t>(found - ports.begin());
}

/// What a stream begins with: nothing where the port takes that, else zeros, with free dimensions of 1.
value fresh_state(const port& p) {
  if (p.optional)
    return {};
  functions::tensor zeros;
  zeros.type = p.type;
  std::size_t count = 1;
  for (const auto extent : p.shape) {
    zeros.shape.push_back(std::max<std::int64_t>(extent, 1));
    count *= static_cast<std::size_t>(zeros.shape.back());
  }
  // An empty element of BYTES is its length, 0.
  const auto element = p.type == functions::datatype::bytes ? sizeof(std::uint32_t) : functions::element_size(p.type);
  zeros.data = shared_bytes::take(std::vector<std::byte>(count * element));
  return {std::move(zeros)};
}

/// State outlives the call that made it, so it must not lie in the call's memory.
value deep_copy(const value& v) {
  if (const auto* t = v.as_tensor())
    return {functions::tensor{t->type, t->shape, shared_bytes::copy_of(t->data.data(), t->data.size())}};
  if (const auto* list = v.as_list()) {
    functions::value_list copy;
    for (const auto& element : *list)
      copy.push_back(deep_copy(element));
    return {std::move(copy)};
  }
  return {};
}

} // namespace

const sequence_table::slot* sequence_table::find(sequence_id sequence, function_id function) const {
  const auto found = sequences_.find(sequence);
  if (found == sequences_.end())
    return nullptr;
  for (const auto& s : found->second)
    if (s.function == function)
      return &s;
  return nullptr;
}

result<bool> sequence_table::enter(sequence_id sequence, function_id function, const run& who) {
  auto* s = find(sequence, function);
  if (!s) {
    if (sequences_.size() >= max_sequences && !sequences_.contains(sequence))
      return error{errc::overloaded,
                   "the node keeps the state of " + std::to_string(max_sequences) + " sequences, its limit; end some",
                   {}};
    auto& row = sequences_[sequence];
    s = &row.emplace_back();
    s->function = function;
  }
  if (s->busy) {
    s->waiting.push_back(who);
    return false;
  }
  s->busy = true;
  return true;
}

std::optional<sequence_table::run> sequence_table::leave(sequence_id sequence, function_id function) {
  auto* s = find(sequence, function);
  if (!s)
    return std::nullopt;
  if (!s->waiting.empty()) {
    const auto next = s->waiting.front();
    s->waiting.pop_front();
    return next;
  }
  s->busy = false;
  tidy(sequence);
  return std::nullopt;
}

result<> sequence_table::fill(const calls::sequence& sequence, const functions::registered_function& function,
                              std::vector<value>& inputs) const {
  const auto* const s = sequence.id ? find(sequence.id, function.id) : nullptr;
  const bool fresh = sequence.start || !sequence.id;
  if (!fresh && !(s && s->state))
    return {errc::data_loss,
            "the state of sequence " + to_string(sequence.id) + " is not on this node; start the sequence again"};
  for (std::size_t i = 0; i < function.spec.state.size(); ++i) {
    const auto at = index_of(function.spec.inputs, function.spec.state[i].input);
    inputs[at] = fresh ? fresh_state(function.spec.inputs[at]) : (*s->state)[i];
  }
  return {};
}

void sequence_table::store(sequence_id sequence, const functions::registered_function& function,
                           const std::vector<value>& outputs) {
  auto* const s = find(sequence, function.id);
  if (!s)
    return;
  s->state.emplace();
  for (const auto& kept : function.spec.state) {
    const auto at = index_of(function.spec.outputs, kept.output);
    s->state->push_back(at < outputs.size() ? deep_copy(outputs[at]) : value{});
  }
}

void sequence_table::drop(sequence_id sequence) {
  const auto found = sequences_.find(sequence);
  if (found == sequences_.end())
    return;
  for (auto& s : found->second)
    s.state.reset();
  tidy(sequence);
}

void sequence_table::tidy(sequence_id sequence) {
  const auto found = sequences_.find(sequence);
  if (found == sequences_.end())
    return;
  std::erase_if(found->second, [](const slot& s) { return !s.busy && s.waiting.empty() && !s.state; });
  if (found->second.empty())
    sequences_.erase(found);
}

} // namespace squall::executors
