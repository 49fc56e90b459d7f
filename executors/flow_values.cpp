#include "executors/flow.hpp"

#include <algorithm>

/// The values and the figures of a flow; what is decided is in flow.cpp.
namespace squall::executors {

using functions::binding;
using functions::value;

const value& flow::source_value(stage_index reader, const functions::resolved_source& source) const {
  static const value absent;
  switch (source.from) {
    case binding::source::constant:
      return source.constant;
    case binding::source::dag_input:
      return source.port < inputs_.size() ? inputs_[source.port] : absent;
    case binding::source::stage_output:
      break;
  }
  if (!late_.empty() && std::find(late_.begin(), late_.end(), std::pair{reader, source.stage}) != late_.end())
    return absent;
  return outputs_[graph_->stages[source.stage].first_output + source.port];
}

void flow::provide(stage_index stage, std::uint32_t element, std::uint32_t port, value given) {
  provided_.push_back({stage, element, port, std::move(given)});
}

bool flow::provided(stage_index stage) const {
  return std::any_of(provided_.begin(), provided_.end(), [&](const auto& p) { return p.stage == stage; });
}

bool flow::running(stage_index stage, std::uint32_t element) const {
  return std::any_of(running_.begin(), running_.end(),
                     [&](const auto& r) { return r.stage == stage && element < r.ended.size() && !r.ended[element]; });
}

void flow::add_provided(stage_index stage, std::uint32_t element, std::vector<value>& inputs) const {
  for (const auto& p : provided_)
    if (p.stage == stage && p.element == element)
      inputs[p.port] = p.value;
}

std::vector<value> flow::inputs_of(stage_index stage, std::uint32_t element) const {
  std::vector<value> out(spec(stage).inputs.size());
  add_provided(stage, element, out);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto& input = spec(stage).inputs[i];
    if (!input.bound)
      continue;
    const auto& given = source_value(stage, input.source);
    const auto* const list = input.mapped ? given.as_list() : nullptr;
    out[i] = list ? (*list)[element] : given;
  }
  return out;
}

std::vector<value> flow::whole_inputs_of(stage_index stage) const {
  std::vector<value> out(spec(stage).inputs.size());
  if (!spec(stage).map)
    add_provided(stage, 0, out);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto& input = spec(stage).inputs[i];
    if (input.bound && !input.mapped)
      out[i] = source_value(stage, input.source);
  }
  return out;
}

std::vector<value> flow::mapped_inputs_of(stage_index stage, std::uint32_t element) const {
  std::vector<value> out(spec(stage).inputs.size());
  if (spec(stage).map)
    add_provided(stage, element, out);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto& input = spec(stage).inputs[i];
    if (!input.mapped)
      continue;
    if (const auto* const list = source_value(stage, input.source).as_list())
      out[i] = (*list)[element];
  }
  return out;
}

std::vector<std::uint32_t> flow::outputs_read_by(stage_index stage, node_id node) const {
  std::vector<std::uint32_t> out;
  for (std::uint32_t i = 0; i < spec(stage).output_count; ++i) {
    const auto& readers = graph_->stages[stage].readers[i];
    if (std::any_of(readers.begin(), readers.end(), [&](auto reader) { return home(reader) == node; }))
      out.push_back(i);
  }
  return out;
}

std::vector<value> flow::outputs_for(stage_index stage, node_id node) const {
  std::vector<value> out(spec(stage).output_count);
  for (const auto i : outputs_read_by(stage, node))
    out[i] = outputs_[graph_->stages[stage].first_output + i];
  return out;
}

std::vector<value> flow::outputs() const {
  std::vector<value> out;
  out.reserve(graph_->dag->outputs.size());
  for (const auto& source : graph_->dag->outputs)
    out.push_back(source_value(graph_->dag->exit(), source));
  return out;
}

// -- figures

calls::stage_trace* flow::open_trace(stage_index stage) {
  for (auto& r : running_)
    if (r.stage == stage)
      return &r.trace;
  return nullptr;
}

void flow::log(const calls::stage_trace& trace, bool ended) {
  auto& state = states_[trace.stage];
  if (state.traced == 0) {
    trace_.push_back(trace);
    state.traced = static_cast<std::uint32_t>(trace_.size());
  } else {
    auto& known = trace_[state.traced - 1];
    const bool late = known.late || trace.late;
    if (ended && !state.ended)
      known = trace;
    known.late = late;
  }
  state.ended |= ended;
}

void flow::add_trace(const std::vector<calls::stage_trace>& trace) {
  for (const auto& t : trace)
    if (t.stage < states_.size())
      log(t, !(t.late && t.width == 0));
}

std::vector<calls::stage_trace> flow::trace() const {
  auto out = trace_;
  for (const auto& r : running_)
    if (states_[r.stage].traced == 0)
      out.push_back(r.trace);
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.stage < b.stage; });
  return out;
}

std::vector<calls::stage_trace> flow::news_for(node_id node) {
  auto told = std::find_if(told_.begin(), told_.end(), [&](const auto& t) { return t.first == node; });
  if (told == told_.end())
    told = told_.insert(told_.end(), {node, 0});
  std::vector<calls::stage_trace> news{trace_.begin() + static_cast<std::ptrdiff_t>(told->second), trace_.end()};
  told->second = trace_.size();
  return news;
}

std::vector<stage_index> flow::unsettled() const {
  std::vector<stage_index> out;
  for (stage_index s = 0; s < states_.size(); ++s)
    if (!states_[s].ended)
      out.push_back(s);
  return out;
}

std::vector<flow::stage_progress> flow::progress() const {
  std::vector<stage_progress> out;
  for (stage_index s = 0; s < states_.size(); ++s) {
    const auto& state = states_[s];
    if (state.phase == phase::settled) {
      const std::uint32_t width = state.traced > 0 ? trace_[state.traced - 1].width : 1;
      out.push_back({s, true, state.skipped ? 0 : width, {}});
      continue;
    }
    const auto running =
        std::find_if(running_.begin(), running_.end(), [&](const running_stage& r) { return r.stage == s; });
    if (running == running_.end())
      continue;
    stage_progress& come = out.emplace_back(stage_progress{s, false, running->left, {}});
    for (std::uint32_t e = 0; spec(s).map && e < running->ended.size(); ++e)
      if (!running->ended[e])
        come.elements.push_back(e);
  }
  return out;
}

std::string flow::describe(stage_index stage) const {
  const auto& function = graph_->stages[stage].function->spec;
  return "stage '" + spec(stage).name + "' (function " + function.name + " version " +
         std::to_string(function.version) + ")";
}

} // namespace squall::executors
