#include "executors/flow.hpp"

#include <algorithm>

namespace squall::executors {

using functions::binding;
using functions::join_rule;
using functions::value;
using functions::value_list;

flow::flow(std::shared_ptr<const flow_graph> graph, const calls::plan& plan, node_id self, duration wait_cap)
    : graph_(std::move(graph)), plan_(&plan), self_(self), wait_cap_(wait_cap) {
  const auto& dag = *graph_->dag;
  SQUALL_CHECK(plan.stages.size() == dag.stages.size(), plan.stages.size(), dag.stages.size());
  states_.resize(dag.stages.size());
  outputs_.resize(graph_->output_count);
  for (stage_index s = 0; s < states_.size(); ++s) {
    states_[s].here = plan.stages[s].home == self_;
    states_[s].missing = static_cast<std::uint32_t>(dag.stages[s].producers.size());
    states_[s].wanted = static_cast<std::uint32_t>(dag.stages[s].consumers.size());
    unsettled_ += states_[s].here ? 1 : 0;
  }
  exit_here_ = plan.exit == self_;
  exit_missing_ = static_cast<std::uint32_t>(dag.exit_producers.size());
}

void flow::leave_out(const std::vector<stage_index>& stages) {
  for (const stage_index s : stages)
    if (s < states_.size()) {
      states_[s].left_out = true;
      if (states_[s].here)
        work_.push_back(s);
    }
}

// -- facts

result<> flow::start(std::vector<value> inputs) {
  if (started_)
    return {};
  if (inputs.size() != graph_->dag->spec.inputs.size())
    return {errc::corrupt, "DAG '" + graph_->dag->spec.name + "' has " +
                               std::to_string(graph_->dag->spec.inputs.size()) + " inputs, but " +
                               std::to_string(inputs.size()) + " came"};
  started_ = true;
  inputs_ = std::move(inputs);
  for (stage_index s = 0; s < states_.size(); ++s)
    if (states_[s].here && graph_->stages[s].waits_for_start)
      work_.push_back(s);
  advance();
  return {};
}

result<> flow::settle(stage_index stage, bool skipped, std::vector<value> outputs) {
  if (stage >= states_.size() || states_[stage].here)
    return {errc::corrupt,
            "stage " + std::to_string(stage) + " of DAG '" + graph_->dag->spec.name + "' does not run elsewhere"};
  auto& state = states_[stage];
  if (state.phase == phase::settled)
    return {};
  if (!outputs.empty() && outputs.size() != spec(stage).output_count)
    return {errc::corrupt, describe(stage) + " has " + std::to_string(spec(stage).output_count) + " outputs, but " +
                               std::to_string(outputs.size()) + " came"};
  state.phase = phase::settled;
  state.skipped = skipped;
  if (!skipped)
    std::move(outputs.begin(), outputs.end(), outputs_.begin() + graph_->stages[stage].first_output);
  for (const auto consumer : spec(stage).consumers)
    notify(consumer);
  advance();
  return {};
}

void flow::complete(stage_index stage, std::uint32_t element, std::vector<value> outputs) {
  auto* const running = find_running(stage, element);
  if (!running)
    return;
  if (outputs.size() != spec(stage).output_count)
    return give_up(
        stage, errc::failed,
        "gave " + std::to_string(outputs.size()) + " outputs instead of " + std::to_string(spec(stage).output_count));
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    running->trace.bytes_out += outputs[i].byte_size();
    auto& slot = outputs_[graph_->stages[stage].first_output + i];
    if (spec(stage).map)
      std::get<value_list>(slot.data)[element] = std::move(outputs[i]);
    else
      slot = std::move(outputs[i]);
  }
  element_ended(*running, element);
  advance();
}

void flow::fail(stage_index stage, std::uint32_t element, const error& why) {
  auto* const running = find_running(stage, element);
  if (!running)
    return;
  running->trace.failed = true;
  if (spec(stage).may_fail)
    failed_.emplace_back(stage, why);
  if (!spec(stage).may_fail) {
    give_up(stage, why.code,
            (spec(stage).map ? "element " + std::to_string(element) + ": " : std::string{}) + why.message);
    failure_->retry_after = why.retry_after;
    return;
  }
  if (spec(stage).map)
    element_ended(*running, element);
  else
    settle_running(*running, true);
  advance();
}

void flow::pass_time(duration age) {
  age_ = std::max(age_, age);
  if (waits_.empty())
    return;
  for (const auto stage : waits_)
    if (wait_of(stage) <= age_)
      work_.push_back(stage);
  advance();
}

std::optional<duration> flow::next_wait() const {
  std::optional<duration> next;
  for (const auto stage : waits_)
    if (!next || wait_of(stage) < *next)
      next = wait_of(stage);
  return next;
}

// -- judging

/// Judges what may have become decidable, and what that makes decidable. Not recursive: a chain of skipped stages may
/// be long.
void flow::advance() {
  for (std::size_t i = 0; i < work_.size() && !failure_; ++i)
    judge(work_[i]);
  work_.clear();
}

void flow::notify(stage_index consumer) {
  if (consumer == graph_->dag->exit()) {
    --exit_missing_;
    return;
  }
  auto& state = states_[consumer];
  --state.missing;
  const bool decidable = state.missing == 0 || spec(consumer).join.rule == join_rule::kind::count;
  if (state.here && decidable)
    work_.push_back(consumer);
}

void flow::judge(stage_index stage) {
  if (states_[stage].phase != phase::waiting)
    return;
  if (states_[stage].left_out)
    return settle_here(stage, true, nothing_ran(stage));
  const auto decision = join(stage);
  if (decision == verdict::wait)
    return;
  std::erase(waits_, stage);
  if (decision == verdict::wait_for_time)
    return waits_.push_back(stage);
  if (decision == verdict::skip)
    return skip_or_fail(stage);
  mark_late_producers(stage);
  const bool tested_whole = spec(stage).when && !graph_->stages[stage].when_by_element;
  if (lacks_input(stage) || (tested_whole && !condition(stage, std::nullopt)))
    return settle_here(stage, true, nothing_ran(stage));
  if (const auto fit = check_inputs(stage); !fit.ok())
    return give_up(stage, fit.error().code, fit.error().message);
  spec(stage).map ? launch_map(stage) : open(stage, {0}, 1);
}

calls::stage_trace flow::nothing_ran(stage_index stage) const {
  return {.stage = stage, .node = self_, .lane = {}, .skipped = true, .width = 0, .begin = age_};
}

/// Too few producers are present. Where that is because some failed, a join that must have them fails the call.
void flow::skip_or_fail(stage_index stage) {
  const auto& rule = spec(stage).join;
  const auto& producers = graph_->stages[stage].join_producers;
  const auto has_failed = [&](stage_index p) { return states_[p].traced > 0 && trace_[states_[p].traced - 1].failed; };
  const auto failed = std::count_if(producers.begin(), producers.end(), has_failed);
  if (!rule.must || failed == 0)
    return settle_here(stage, true, nothing_ran(stage));
  const auto* const why = failure_among(producers);
  give_up(stage, why ? why->code : errc::failed,
          std::to_string(failed) + " of the " + std::to_string(producers.size()) + " stages that it joins failed" +
              (why ? "; the last one: " + why->message : std::string{}));
}

const error* flow::failure_among(const std::vector<stage_index>& producers) const {
  const auto found = std::find_if(failed_.rbegin(), failed_.rend(), [&](const auto& f) {
    return std::binary_search(producers.begin(), producers.end(), f.first);
  });
  return found == failed_.rend() ? nullptr : &found->second;
}

flow::verdict flow::join(stage_index stage) const {
  const auto& facts = graph_->stages[stage];
  if (facts.waits_for_start && !started_)
    return verdict::wait;
  if (spec(stage).join.rule == join_rule::kind::count)
    return join_count(stage);
  if (states_[stage].missing > 0)
    return verdict::wait;
  if (spec(stage).join.rule == join_rule::kind::all)
    return verdict::run;
  const auto& producers = facts.join_producers;
  return std::any_of(producers.begin(), producers.end(), [&](auto p) { return present(p); }) ? verdict::run
                                                                                             : verdict::skip;
}

flow::verdict flow::join_count(stage_index stage) const {
  const auto& facts = graph_->stages[stage];
  const auto settled = [&](stage_index p) { return states_[p].phase == phase::settled; };
  if (!std::all_of(facts.when_producers.begin(), facts.when_producers.end(), settled))
    return verdict::wait;
  const auto& producers = facts.join_producers;
  const auto here =
      static_cast<std::size_t>(std::count_if(producers.begin(), producers.end(), [&](auto p) { return present(p); }));
  const bool all = std::all_of(producers.begin(), producers.end(), settled);
  if (here < spec(stage).join.count)
    return all ? verdict::skip : verdict::wait;
  return all || age_ >= wait_of(stage) ? verdict::run : verdict::wait_for_time;
}

duration flow::wait_of(stage_index stage) const { return std::min(spec(stage).join.wait, wait_cap_); }

bool flow::condition(stage_index stage, std::optional<std::size_t> element) const {
  const auto get = [this, stage](const functions::resolved_source& source) { return &source_value(stage, source); };
  return functions::evaluate(*spec(stage).when, get, element);
}

bool flow::lacks_input(stage_index stage) const {
  const auto& inputs = spec(stage).inputs;
  return std::any_of(inputs.begin(), inputs.end(), [&](const auto& input) {
    return input.bound && input.required && source_value(stage, input.source).absent();
  });
}

result<> flow::check_inputs(stage_index stage) const {
  for (const auto i : graph_->stages[stage].inputs_to_check) {
    const auto& input = spec(stage).inputs[i];
    const auto& port = graph_->stages[stage].function->spec.inputs[i];
    const auto& given = source_value(stage, input.source);
    if (given.absent())
      continue;
    const auto what = [&port] { return "input '" + port.name + "'"; };
    const auto* const list = input.mapped ? given.as_list() : nullptr;
    if (!list) {
      SQUALL_TRY(functions::check_value(what, port, given));
      continue;
    }
    for (const auto& element : *list)
      if (!element.absent())
        SQUALL_TRY(functions::check_value(what, port, element));
  }
  return {};
}

// -- running

result<std::optional<std::size_t>> flow::width_of(stage_index stage) const {
  std::optional<std::size_t> width;
  for (const auto& input : spec(stage).inputs) {
    if (!input.mapped || source_value(stage, input.source).absent())
      continue;
    const auto* const list = source_value(stage, input.source).as_list();
    if (!list)
      return {errc::corrupt, "was given a tensor where it maps over a list"};
    if (width && *width != list->size())
      return {errc::invalid_argument, "maps over lists of " + std::to_string(*width) + " and " +
                                          std::to_string(list->size()) + " elements; they must have the same number"};
    width = list->size();
  }
  if (width && *width > spec(stage).width_max)
    return {errc::too_large, "maps over " + std::to_string(*width) + " elements; its width_max is " +
                                 std::to_string(spec(stage).width_max)};
  return width;
}

void flow::launch_map(stage_index stage) {
  const auto width = width_of(stage);
  if (!width.ok())
    return give_up(stage, width.error().code, width.error().message);
  if (!*width)
    return settle_here(stage, true, nothing_ran(stage));
  const std::size_t count = **width;
  const auto outputs = outputs_.begin() + graph_->stages[stage].first_output;
  std::for_each(outputs, outputs + spec(stage).output_count, [&](value& slot) { slot.data = value_list(count); });
  std::vector<std::uint32_t> elements;
  for (std::uint32_t e = 0; e < count; ++e)
    if (element_runs(stage, e))
      elements.push_back(e);
  if (elements.empty())
    return settle_here(stage, false, {.stage = stage, .node = self_, .lane = {}, .width = 0, .begin = age_});
  open(stage, std::move(elements), static_cast<std::uint32_t>(count));
}

bool flow::element_runs(stage_index stage, std::size_t element) const {
  for (const auto& input : spec(stage).inputs) {
    if (!input.mapped || !input.required)
      continue;
    const auto* const list = source_value(stage, input.source).as_list();
    if (!list || (*list)[element].absent())
      return false;
  }
  const auto& join = spec(stage).join;
  if (join.rule != join_rule::kind::all) {
    const auto& producers = graph_->stages[stage].join_producers;
    const auto here =
        std::count_if(producers.begin(), producers.end(), [&](auto p) { return brings(p, stage, element); });
    if (here < (join.rule == join_rule::kind::any ? 1 : join.count))
      return false;
  }
  return !graph_->stages[stage].when_by_element || condition(stage, element);
}

bool flow::brings(stage_index producer, stage_index reader, std::size_t element) const {
  const auto& inputs = spec(reader).inputs;
  return std::any_of(inputs.begin(), inputs.end(), [&](const auto& input) {
    if (!input.bound || input.source.from != binding::source::stage_output || input.source.stage != producer)
      return false;
    const auto& given = source_value(reader, input.source);
    const auto* const list = input.mapped ? given.as_list() : nullptr;
    return list ? !(*list)[element].absent() : !given.absent();
  });
}

void flow::open(stage_index stage, std::vector<std::uint32_t> elements, std::uint32_t width) {
  running_stage running;
  running.stage = stage;
  running.left = static_cast<std::uint32_t>(elements.size());
  running.ended.resize(width, true);
  for (const auto e : elements)
    running.ended[e] = false;
  running.trace.stage = stage;
  running.trace.node = self_;
  running.trace.width = running.left;
  running.trace.begin = age_;
  running.trace.bytes_in = bytes_read(stage, [](node_id) { return true; });
  running_.push_back(std::move(running));
  states_[stage].phase = phase::running;
  ready_.push_back({stage, std::move(elements)});
}

void flow::mark_late_producers(stage_index stage) {
  if (spec(stage).join.rule != join_rule::kind::count)
    return;
  for (const auto p : graph_->stages[stage].join_producers) {
    if (states_[p].phase == phase::settled)
      continue;
    late_.emplace_back(stage, p);
    const bool last = spec(stage).join.must && spec(p).consumers.size() == 1;
    log({.stage = p, .node = home(p), .lane = {}, .width = 0, .late = true, .cancelled = last}, false);
  }
  if (spec(stage).join.must)
    for (const auto p : graph_->stages[stage].join_producers)
      stop_wanting(p, stage);
}

// -- cancelling

void flow::unwanted(stage_index stage, stage_index consumer) {
  if (stage >= states_.size() || !states_[stage].here)
    return;
  const auto& consumers = spec(stage).consumers;
  if (std::binary_search(consumers.begin(), consumers.end(), consumer))
    stop_wanting(stage, consumer);
}

/// Cancels what nobody waits for any more, and then what only that waited for. Not recursive, as advance().
void flow::stop_wanting(stage_index producer, stage_index consumer) {
  std::vector<std::pair<stage_index, stage_index>> edges{{consumer, producer}};
  for (std::size_t i = 0; i < edges.size(); ++i) {
    const auto edge = edges[i];
    const auto p = edge.second;
    if (states_[p].phase == phase::settled)
      continue;
    if (!states_[p].here) {
      refusals_.push_back({p, edge.first, home(p)});
      continue;
    }
    if (std::find(refused_.begin(), refused_.end(), edge) != refused_.end())
      continue;
    refused_.push_back(edge);
    if (--states_[p].wanted > 0)
      continue;
    cancel(p);
    for (const auto before : spec(p).producers)
      edges.emplace_back(p, before);
  }
}

void flow::cancel(stage_index stage) {
  auto& state = states_[stage];
  auto trace = nothing_ran(stage);
  const auto running = std::find_if(running_.begin(), running_.end(), [&](const auto& r) { return r.stage == stage; });
  if (running != running_.end()) {
    trace = running->trace;
    std::swap(*running, running_.back());
    running_.pop_back();
    if (std::erase_if(ready_, [&](const ready_stage& r) { return r.stage == stage; }) == 0)
      cancelled_.push_back(stage);
  } else {
    passed_over_.push_back(stage);
  }
  std::erase(waits_, stage);
  trace.skipped = false;
  trace.cancelled = true;
  state.phase = phase::settled;
  state.skipped = true;
  --unsettled_;
  log(trace, true);
}

flow::running_stage* flow::find_running(stage_index stage, std::uint32_t element) {
  for (auto& r : running_)
    if (r.stage == stage)
      return element < r.ended.size() && !r.ended[element] ? &r : nullptr;
  return nullptr;
}

void flow::element_ended(running_stage& running, std::uint32_t element) {
  running.ended[element] = true;
  if (--running.left == 0)
    settle_running(running, false);
}

void flow::settle_running(running_stage& running, bool skipped) {
  const auto trace = running.trace;
  std::swap(running, running_.back());
  running_.pop_back();
  settle_here(trace.stage, skipped, trace);
}

void flow::settle_here(stage_index stage, bool skipped, calls::stage_trace trace) {
  auto& state = states_[stage];
  if (state.phase == phase::waiting)
    passed_over_.push_back(stage);
  state.phase = phase::settled;
  state.skipped = skipped;
  --unsettled_;
  log(trace, true);
  const auto first = departures_.size();
  for (const auto consumer : spec(stage).consumers) {
    notify(consumer);
    const auto to = home(consumer);
    const bool told = std::any_of(departures_.begin() + static_cast<std::ptrdiff_t>(first), departures_.end(),
                                  [&](const departure& d) { return d.node == to; });
    if (to != self_ && !told)
      departures_.push_back({stage, to});
  }
}

void flow::give_up(stage_index stage, errc code, const std::string& what) {
  if (!failure_)
    failure_ = error{code, describe(stage) + ": " + what, {}};
}

} // namespace squall::executors
