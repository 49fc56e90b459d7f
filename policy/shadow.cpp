#include "policy/shadow.hpp"

#include "base/hash.hpp"
#include "calls/binary.hpp"
#include "policy/detail/averages.hpp"
#include "policy/dispatch_policies.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

namespace squall::policy {

namespace placing = calls::placing;

namespace {

constexpr std::uint32_t one = 1'000'000;
constexpr std::uint32_t ticks_at_once = 4;

/// What calls of a DAG were seen to do at a stage.
struct known_stage {
  placing::stage_info info;
  std::vector<stage_index> consumers;
  std::uint32_t odds_ppm = one;
  std::uint32_t width_q8 = 256;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("info", s.info);
    v("consumers", s.consumers);
    v("odds", s.odds_ppm);
    v("width", s.width_q8);
  }
};

/// A stage of a call, in the model and in truth.
struct followed_stage {
  std::uint32_t missing = 0; ///< producers that have not ended
  std::uint32_t left = 0;    ///< tasks that have not ended
  bool done = false;
  bool seen = false;       ///< the real call has come so far
  std::uint32_t width = 1; ///< then: 0 = it was skipped
  variant_id variant, real_variant;
  node_id node, real_node;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("missing", s.missing);
    v("left", s.left);
    v("done", s.done);
    v("seen", s.seen);
    v("width", s.width);
    v("variant", s.variant);
    v("real_variant", s.real_variant);
    v("node", s.node);
    v("real_node", s.real_node);
  }
};

/// What became of a call on one side.
struct fate {
  bool admitted = false;
  bool over = false;
  bool well = false;
  time_point end{};
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("admitted", s.admitted);
    v("over", s.over);
    v("well", s.well);
    v("end", s.end);
  }
};

struct followed_call {
  dag_id dag;
  time_point arrived{};
  time_point deadline = never;
  std::uint32_t draw = 0; ///< one for all of its stages: branches go together
  fate real, model;
  std::vector<followed_stage> stages;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("dag", s.dag);
    v("arrived", s.arrived);
    v("deadline", s.deadline);
    v("draw", s.draw);
    v("real", s.real);
    v("model", s.model);
    v("stages", s.stages);
  }
};

struct modelled_batch {
  node_id node;
  std::vector<placing::task> tasks;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("tasks", s.tasks);
  }
};

struct known_variant {
  placing::variant_info info;
  std::uint32_t over_ppm = one; ///< how long it really takes, over what it is said to take
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("info", s.info);
    v("over", s.over_ppm);
  }
};

/// The end of a batch or of a load.
struct coming {
  batch_id batch;
  replica_id replica;
  node_id node;
  duration took{0};
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("batch", s.batch);
    v("replica", s.replica);
    v("node", s.node);
    v("took", s.took);
  }
};

} // namespace

struct shadow::state {
  std::unique_ptr<dispatch_policy> policy;
  shadow_report sums;
  time_point at{};
  std::map<variant_id, known_variant> variants;
  std::map<dag_id, std::vector<known_stage>> dags;
  std::vector<dag_id> removed; ///< that calls still follow
  std::map<call_id, followed_call> calls;
  std::map<batch_id, modelled_batch> batches;
  std::map<replica_id, node_id> replicas;
  std::map<std::pair<time_point, std::uint64_t>, coming> agenda;
  std::uint64_t events = 0;
  std::deque<placing::event> untold; ///< to the policy
  std::vector<call_id> over;         ///< under one of both, in this step

  // -- the model
  void tell(const placing::event& fact) {
    untold.push_back(fact);
    flush();
  }
  void flush() {
    while (!untold.empty()) {
      const placing::event next = std::move(untold.front());
      untold.pop_front();
      std::vector<placing::command> out;
      policy->step(at, next, out);
      for (const placing::command& c : out)
        obey(c);
    }
  }
  void obey(const placing::command& command);
  void pass_time(time_point now, bool tick);
  void happen(const coming& what);
  [[nodiscard]] duration time_of(variant_id variant, std::size_t tasks) const;
  [[nodiscard]] std::uint32_t width_of(const followed_call& call, stage_index stage) const;
  void ready(call_id id, stage_index stage);
  void ended(call_id id, stage_index stage);
  void end_model(call_id id, bool well);
  void lose(node_id node);

  // -- what really happens
  void follow(const placing::call_arrived& fact);
  void learn(followed_call& call, stage_index stage, std::uint32_t width);
  void learn_time(const followed_call& call, const placing::stage_report& report);
  void end_real(call_id id, bool well);
  void compare(call_id id);
  void decided(const placing::command& command);

  void on(const placing::function_registered& fact) {
    for (const placing::variant_info& info : fact.variants)
      variants[info.id].info = info;
    tell(fact);
  }
  void on(const placing::dag_registered& fact);
  void on(const placing::function_removed& fact) {
    for (const variant_id v : fact.variants)
      variants.erase(v);
    tell(fact);
  }
  void on(const placing::dag_removed& fact) {
    removed.push_back(fact.id);
    tell(fact);
  }
  void forget_removed();
  void on(const placing::front_ready& fact) { tell(fact); }
  void on(const placing::node_joined& fact) { tell(fact); }
  void on(const placing::node_lost& fact) { lose(fact.id); }
  void on(const placing::node_draining& fact) { lose(fact.id); }
  void on(const placing::call_arrived& fact) { follow(fact); }
  void on(const placing::stage_ready& fact);
  void on(const placing::call_ended& fact);
  void on(const placing::cancel_requested& fact);
  template <class Other>
  void on(const Other&) {}

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("sums", s.sums);
    v("at", s.at);
    v("variants", s.variants);
    v("dags", s.dags);
    v("removed", s.removed);
    v("calls", s.calls);
    v("batches", s.batches);
    v("replicas", s.replicas);
    v("agenda", s.agenda);
    v("events", s.events);
  }
  [[nodiscard]] bool sound() const;
};

// -- the model
// -----------------------------------------------------------------------------------------------------------------

duration shadow::state::time_of(variant_id variant, std::size_t tasks) const {
  const auto found = variants.find(variant);
  if (found == variants.end())
    return duration{1};
  const placing::variant_info& info = found->second.info;
  const auto& times = info.batch_times;
  duration said = info.expected * static_cast<std::int64_t>(tasks);
  if (!times.empty())
    said = tasks <= times.size()
               ? times[tasks - 1]
               : times.back() / static_cast<std::int64_t>(times.size()) * static_cast<std::int64_t>(tasks);
  return std::max(duration{1}, said / 1000 * (found->second.over_ppm / 1000));
}

void shadow::state::obey(const placing::command& command) {
  const auto expect = [&](duration in, coming what) {
    what.took = in;
    agenda[{at + in, ++events}] = what;
  };
  if (const auto* admit = std::get_if<placing::admit>(&command)) {
    followed_call& call = calls[admit->id];
    call.model.admitted = true;
    for (stage_index s = 0; s < call.stages.size(); ++s)
      if (call.stages[s].missing == 0)
        ready(admit->id, s);
  } else if (const auto* refuse = std::get_if<placing::refuse>(&command)) {
    end_model(refuse->id, false);
  } else if (const auto* abandon = std::get_if<placing::abandon>(&command)) {
    end_model(abandon->id, false);
  } else if (const auto* load = std::get_if<placing::load_replica>(&command)) {
    replicas[load->replica] = load->node;
    const auto variant = variants.find(load->variant);
    expect(variant == variants.end() ? duration{1} : std::max(duration{1}, variant->second.info.load),
           {{}, load->replica, load->node, {}});
  } else if (const auto* evict = std::get_if<placing::evict_replica>(&command)) {
    replicas.erase(evict->replica);
  } else if (const auto* batch = std::get_if<placing::dispatch>(&command)) {
    batches[batch->batch] = {batch->node, batch->tasks};
    for (const placing::task& task : batch->tasks)
      if (const auto call = calls.find(task.call); call != calls.end()) {
        call->second.stages[task.stage].variant = batch->variant;
        call->second.stages[task.stage].node = batch->node;
      }
    untold.push_back(placing::batch_started{batch->node, batch->batch});
    expect(time_of(batch->variant, batch->tasks.size()), {batch->batch, {}, batch->node, {}});
  }
}

/// Everything that the model expects until `now`; what is decided upon all facts of `now` waits for its tick.
void shadow::state::pass_time(time_point now, bool tick) {
  std::uint32_t again = 0;
  for (;;) {
    const time_point event = agenda.empty() ? never : agenda.begin()->first.first;
    const time_point wanted = policy->next_deadline().value_or(never);
    if (event <= now && event <= wanted) {
      at = std::max(at, event);
      const coming what = agenda.begin()->second;
      agenda.erase(agenda.begin());
      happen(what);
      again = 0;
    } else if (wanted < now || (tick && wanted <= now && again < ticks_at_once)) {
      again = std::max(at, wanted) == at ? again + 1 : 0;
      if (again > ticks_at_once)
        break;
      at = std::max(at, wanted);
      tell(placing::tick{});
    } else {
      break;
    }
  }
  at = std::max(at, now);
}

void shadow::state::happen(const coming& what) {
  if (what.replica) {
    if (replicas.contains(what.replica))
      tell(placing::replica_loaded{what.node, what.replica, errc::ok});
    return;
  }
  const auto found = batches.find(what.batch);
  if (found == batches.end())
    return;
  const modelled_batch batch = std::move(found->second);
  batches.erase(found);
  tell(placing::batch_done{what.node, what.batch, errc::ok, what.took});
  for (const placing::task& task : batch.tasks) {
    const auto call = calls.find(task.call);
    if (call == calls.end() || call->second.model.over)
      continue;
    followed_stage& stage = call->second.stages[task.stage];
    if (stage.left > 0 && --stage.left == 0)
      ended(task.call, task.stage);
  }
  flush();
}

std::uint32_t shadow::state::width_of(const followed_call& call, stage_index index) const {
  const followed_stage& stage = call.stages[index];
  if (stage.seen)
    return stage.width;
  const known_stage& known = dags.at(call.dag)[index];
  if (call.draw >= known.odds_ppm)
    return 0;
  return known.info.map ? std::clamp<std::uint32_t>(known.width_q8 / 256, 1, std::max(1U, known.info.width_max)) : 1;
}

void shadow::state::ready(call_id id, stage_index index) {
  followed_call& call = calls.at(id);
  followed_stage& stage = call.stages[index];
  stage.left = width_of(call, index);
  untold.push_back(placing::stage_ready{id, index, stage.left});
  if (stage.left == 0)
    ended(id, index);
}

/// Not recursive beyond the depth of the DAG, which is bounded.
void shadow::state::ended(call_id id, stage_index index) {
  followed_call& call = calls.at(id);
  call.stages[index].done = true;
  for (const stage_index c : dags.at(call.dag)[index].consumers)
    if (--call.stages[c].missing == 0)
      ready(id, c);
  const bool all = std::all_of(call.stages.begin(), call.stages.end(), [](const followed_stage& s) { return s.done; });
  if (all && !call.model.over) {
    call.model.over = true;
    call.model.well = true;
    call.model.end = at;
    over.push_back(id);
    untold.push_back(placing::call_ended{id, errc::ok, {}});
  }
}

void shadow::state::end_model(call_id id, bool well) {
  const auto found = calls.find(id);
  if (found == calls.end() || found->second.model.over)
    return;
  found->second.model.over = true;
  found->second.model.well = well;
  found->second.model.end = at;
  over.push_back(id);
}

void shadow::state::lose(node_id node) {
  std::erase_if(batches, [&](const auto& b) { return b.second.node == node; });
  std::erase_if(replicas, [&](const auto& r) { return r.second == node; });
  tell(placing::node_lost{node});
}

// -- what really happens
// -------------------------------------------------------------------------------------------------------

void shadow::state::on(const placing::dag_registered& fact) {
  std::vector<known_stage> stages;
  for (const placing::stage_info& info : fact.stages)
    stages.push_back({info, {}, info.conditional ? info.chance_ppm : one, 256});
  for (stage_index s = 0; s < stages.size(); ++s)
    for (const stage_index p : stages[s].info.producers)
      if (p < s)
        stages[p].consumers.push_back(s);
  if (const auto known = dags.find(fact.id); known == dags.end() || known->second.size() != stages.size())
    dags[fact.id] = std::move(stages);
  std::erase(removed, fact.id);
  tell(fact);
}

void shadow::state::forget_removed() {
  std::erase_if(removed, [&](dag_id id) {
    if (std::any_of(calls.begin(), calls.end(), [&](const auto& call) { return call.second.dag == id; }))
      return false;
    dags.erase(id);
    return true;
  });
}

void shadow::state::follow(const placing::call_arrived& fact) {
  const auto dag = dags.find(fact.dag);
  if (fact.sequence.id || dag == dags.end() || calls.size() >= max_calls || calls.contains(fact.id)) {
    ++sums.left_out;
    return;
  }
  followed_call& call = calls[fact.id];
  call.dag = fact.dag;
  call.arrived = at;
  call.deadline = fact.deadline;
  fnv1a hash;
  hash.add(fact.id.value);
  call.draw = static_cast<std::uint32_t>((hash.value() >> 20) % one);
  for (const known_stage& stage : dag->second) {
    call.stages.emplace_back();
    call.stages.back().missing = static_cast<std::uint32_t>(stage.info.producers.size());
  }
  tell(fact);
}

void shadow::state::learn(followed_call& call, stage_index index, std::uint32_t width) {
  followed_stage& stage = call.stages[index];
  if (stage.seen)
    return;
  stage.seen = true;
  stage.width = width;
  known_stage& known = dags.at(call.dag)[index];
  const std::int64_t ran = width > 0 ? one : 0;
  known.odds_ppm = static_cast<std::uint32_t>(known.odds_ppm + (ran - std::int64_t{known.odds_ppm}) / 16);
  if (width > 0)
    known.width_q8 = static_cast<std::uint32_t>(
        known.width_q8 +
        (std::int64_t{std::min<std::uint32_t>(width, functions::max_map_width)} * 256 - std::int64_t{known.width_q8}) /
            8);
}

void shadow::state::learn_time(const followed_call& call, const placing::stage_report& report) {
  const auto found = variants.find(call.stages[report.stage].real_variant);
  if (found == variants.end() || report.width == 0 || report.executed.count() <= 0)
    return;
  known_variant& variant = found->second;
  const duration said = variant.info.batch_times.empty() ? variant.info.expected : variant.info.batch_times.front();
  if (said.count() <= 0)
    return;
  const std::int64_t over = std::clamp<std::int64_t>(detail::time_of_one(report.executed, report.width).count() * 1000 /
                                                         std::max<std::int64_t>(1, said.count() / 1000),
                                                     one / 10, 10 * one);
  variant.over_ppm = static_cast<std::uint32_t>(variant.over_ppm + (over - std::int64_t{variant.over_ppm}) / 16);
}

void shadow::state::on(const placing::stage_ready& fact) {
  const auto call = calls.find(fact.call);
  if (call != calls.end() && fact.stage < call->second.stages.size())
    learn(call->second, fact.stage, fact.width);
}

void shadow::state::on(const placing::call_ended& fact) {
  const auto call = calls.find(fact.id);
  if (call == calls.end())
    return;
  for (const placing::stage_report& report : fact.stages)
    if (report.stage < call->second.stages.size()) {
      learn(call->second, report.stage, report.width);
      learn_time(call->second, report);
    }
  end_real(fact.id, fact.code == errc::ok);
}

void shadow::state::on(const placing::cancel_requested& fact) {
  const auto call = calls.find(fact.id);
  if (call == calls.end())
    return;
  const bool running = call->second.model.admitted && !call->second.model.over;
  calls.erase(call);
  if (running)
    tell(fact);
}

void shadow::state::end_real(call_id id, bool well) {
  const auto found = calls.find(id);
  if (found == calls.end())
    return;
  fate& real = found->second.real;
  real.over = true;
  real.well = well;
  real.end = at;
  over.push_back(id);
}

void shadow::state::decided(const placing::command& command) {
  if (const auto* admit = std::get_if<placing::admit>(&command)) {
    const auto call = calls.find(admit->id);
    if (call == calls.end())
      return;
    call->second.real.admitted = true;
    for (std::size_t s = 0; s < admit->plan.stages.size() && s < call->second.stages.size(); ++s) {
      call->second.stages[s].real_variant = admit->plan.stages[s].variant;
      call->second.stages[s].real_node = admit->plan.stages[s].home;
    }
  } else if (const auto* refuse = std::get_if<placing::refuse>(&command)) {
    end_real(refuse->id, false);
  } else if (const auto* abandon = std::get_if<placing::abandon>(&command)) {
    end_real(abandon->id, false);
  } else if (const auto* batch = std::get_if<placing::dispatch>(&command)) {
    for (const placing::task& task : batch->tasks)
      if (const auto call = calls.find(task.call); call != calls.end() && task.stage < call->second.stages.size()) {
        call->second.stages[task.stage].real_variant = batch->variant;
        call->second.stages[task.stage].real_node = batch->node;
      }
  }
}

/// A call that is over under both is counted and forgotten.
void shadow::state::compare(call_id id) {
  const auto found = calls.find(id);
  if (found == calls.end() || !found->second.real.over || !found->second.model.over)
    return;
  const followed_call& call = found->second;
  ++sums.calls;
  ++(call.real.admitted ? (call.model.admitted ? sums.admitted_by_both : sums.only_in_force)
                        : (call.model.admitted ? sums.only_shadow : sums.refused_by_both));
  const auto met = [&](const fate& f) { return f.admitted && f.well && f.end <= call.deadline; };
  sums.met_in_force += met(call.real) ? 1 : 0;
  sums.met_shadow += met(call.model) ? 1 : 0;
  if (call.real.admitted && call.real.well && call.model.admitted && call.model.well) {
    ++sums.ended_by_both;
    sums.latency_in_force += call.real.end - call.arrived;
    sums.latency_shadow += call.model.end - call.arrived;
    for (const followed_stage& s : call.stages)
      if (s.variant && s.real_variant) {
        ++sums.stages;
        sums.same_variant += s.variant == s.real_variant ? 1 : 0;
        sums.same_node += s.node == s.real_node ? 1 : 0;
      }
  }
  calls.erase(found);
}

// -- the face
// -----------------------------------------------------------------------------------------------------------------

shadow::shadow(std::unique_ptr<state> made) : state_(std::move(made)) {}
shadow::~shadow() = default;

result<std::unique_ptr<shadow>> shadow::create(std::string_view name, std::uint64_t seed, std::uint64_t last_id) {
  SQUALL_ASSIGN(policy, make_dispatch_policy(name, seed, last_id));
  auto made = std::make_unique<state>();
  made->policy = std::move(policy);
  made->sums.policy = name;
  return std::unique_ptr<shadow>{new shadow(std::move(made))};
}

void shadow::observe(time_point now, const placing::event& fact, std::span<const placing::command> decided) {
  state& s = *state_;
  s.pass_time(now, std::holds_alternative<placing::tick>(fact));
  std::visit([&](const auto& f) { s.on(f); }, fact);
  for (const placing::command& c : decided)
    s.decided(c);
  for (const call_id id : std::exchange(s.over, {}))
    s.compare(id);
  if (!s.removed.empty())
    s.forget_removed();
}

std::optional<time_point> shadow::next_deadline() const {
  std::optional<time_point> next = state_->policy->next_deadline();
  if (!state_->agenda.empty() && (!next || state_->agenda.begin()->first.first < *next))
    next = state_->agenda.begin()->first.first;
  return next;
}

shadow_report shadow::report() const {
  shadow_report out = state_->sums;
  out.open = state_->calls.size();
  return out;
}

void shadow::save(calls::binary_writer& out) const {
  out.write(*state_);
  state_->policy->save(out);
}

void shadow::restore(calls::binary_reader& in) {
  in.read(*state_);
  if (!state_->sound())
    return in.fail("has a shadow whose calls do not fit its DAGs");
  state_->policy->restore(in);
}

bool shadow::state::sound() const {
  for (const auto& [id, stages] : dags)
    for (const known_stage& s : stages)
      if (std::any_of(s.consumers.begin(), s.consumers.end(), [&](stage_index c) { return c >= stages.size(); }))
        return false;
  for (const auto& [id, call] : calls)
    if (const auto dag = dags.find(call.dag); dag == dags.end() || dag->second.size() != call.stages.size())
      return false;
  for (const auto& [id, batch] : batches)
    for (const placing::task& t : batch.tasks)
      if (const auto call = calls.find(t.call); call != calls.end() && t.stage >= call->second.stages.size())
        return false;
  return true;
}

} // namespace squall::policy
