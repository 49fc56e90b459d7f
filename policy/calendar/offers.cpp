// What a refused call could be promised instead, with tickets that hold the bookings for a while.
#include "policy/calendar/state.hpp"

#include <algorithm>

namespace squall::policy::calendar {

namespace {
constexpr std::size_t finishes_tried = 3;
constexpr ns least_validity = 2'000'000; ///< offers that could not be held for longer are not made

std::string refusal(const call_entry& call, const dag_entry& dag, int why) {
  if (dag.least_cost > call.max_cost)
    return "the cost SLO is below the least that a call of this DAG costs, " + std::to_string(dag.least_cost) +
           " micro-units";
  if (call.arrival + dag.least_latency > call.deadline)
    return "the latency SLO is below the least that a call of this DAG takes, " +
           std::to_string(dag.least_latency / 1000) + " us";
  static const char* const reasons[] = {"", "the cluster is loaded, and calls that take less of it go first",
                                        "no place is left within both SLOs",
                                        "no variant that could meet both SLOs is resident or has a lane"};
  return reasons[why];
}
} // namespace

std::string state::margins(const call_entry& call) const {
  std::string out =
      "planned to end " + std::to_string((call.deadline - finish_of(call)) / 1000) + " us before the latency SLO";
  if (call.max_cost != calls::no_cost_limit)
    out += " and " + std::to_string(call.max_cost - call.cost) + " micro-units below the cost SLO";
  return out;
}

/// The call stands in the books; from now on its best-effort joins have a time at which they go on.
void state::admit_call(slot s, bool promised) {
  call_entry& call = g.calls[s];
  set_answer_time(s);
  placing::admit command{call.id, {}, duration{finish_of(call) - now}, true, call.cost, promised, margins(call)};
  if (call.answer_at < far_off)
    command.reserve = duration{call.deadline - call.answer_at};
  command.how = std::exchange(how, {});
  command.without.assign(call.without.begin(), call.without.end());
  out->emplace_back(std::move(command));
}

/// Where nothing is in the way of others, one call may be offered several things.
bool state::may_hold(slot s) const {
  const client_id client = g.calls[s].client;
  const auto mine = static_cast<std::size_t>(std::count_if(
      tickets.begin(), tickets.end(), [&](const held_ticket& t) { return g.calls[t.call].client == client; }));
  if (tickets.size() >= config.tickets || mine >= config.tickets_per_client)
    return false;
  const bool calm = quiet && std::all_of(tickets.begin(), tickets.end(),
                                         [&](const held_ticket& t) { return g.calls[t.call].id == g.calls[s].id; });
  const ns share = calm ? config.held_calm_ppm : config.held_ppm;
  const auto fits = [&](std::size_t resource, ns held) {
    return held <= config.ticket_valid.count() / 1000 * g.lane_count[resource] * share / 1000;
  };
  ns cpu = 0, gpu = 0;
  for (const held_ticket& t : tickets) {
    cpu += t.cpu;
    gpu += t.gpu;
  }
  return tickets.empty() || (fits(0, cpu) && fits(1, gpu));
}

void state::refuse_call(slot s, verdict v) {
  const call_entry& call = g.calls[s];
  const dag_entry& dag = g.dags[call.dag];
  const bool never_fits = dag.least_cost > call.max_cost || call.arrival + dag.least_latency > call.deadline;
  placing::refuse command{
      call.id, never_fits ? errc::invalid_argument : errc::overloaded, refusal(call, dag, static_cast<int>(v)), {}, {}};
  if (!never_fits)
    command.retry_after = std::chrono::milliseconds{20};
  else if (call.arrival + dag.least_latency > call.deadline)
    doubt_times(dag);
  quiet = !(g.lane_count[0] > 0 && crowded(0)) && !(g.lane_count[1] > 0 && crowded(1));
  explain_refusal(s, v);
  command.how = std::move(how);
  if (may_hold(s) && dag.least_cost <= g.calls[s].max_cost)
    offer_finish(s, command.offers);
  using maker = void (state::*)(slot, std::vector<placing::offer>&);
  for (const maker make : {&state::offer_cost, &state::offer_early_end, &state::offer_fewer_members,
                           &state::offer_cheapest, &state::offer_cpu_only})
    if (may_hold(s))
      (this->*make)(s, command.offers);
  std::sort(command.offers.begin(), command.offers.end(), [](const placing::offer& a, const placing::offer& b) {
    return std::tuple{a.finish, a.cost, a.ticket} < std::tuple{b.finish, b.cost, b.ticket};
  });
  out->emplace_back(std::move(command));
}

slot state::copy_call(slot s, ns release) {
  const slot copy = g.add_call();
  g.calls[copy] = g.calls[s];
  call_entry& call = g.calls[copy];
  call.held = true;
  call.release = release;
  for (task_entry& t : call.tasks)
    t.batch = none;
  for (stage_entry& stage : call.stages)
    stage.placed = false;
  return copy;
}

/// The bookings of the call are held until it could start; what it would be promised is what is booked.
bool state::hold(slot s, const plan_entry& plan, const std::string& what, std::vector<placing::offer>& offers) {
  const std::array<ns, resources> before = g.booked;
  std::uint32_t failed_at = 0;
  if (!try_plan(s, plan, far_off, failed_at))
    return false;
  call_entry& call = g.calls[s];
  call.max_cost = call.cost;
  if (call.deadline == far_off) {
    call.deadline = finish_of(call);
    g.touch_call(s);
  }
  const held_ticket ticket{placing::ticket_id{++last_id}, s, call.release, g.booked[0] - before[0],
                           g.booked[1] - before[1]};
  const auto at =
      std::upper_bound(tickets.begin(), tickets.end(), ticket, [](const held_ticket& a, const held_ticket& b) {
        return std::tuple{a.expires, a.id} < std::tuple{b.expires, b.id};
      });
  tickets.insert(at, ticket);
  const dag_entry& dag = g.dags[call.dag];
  const bool on_gpus =
      std::any_of(dag.plans.begin(), dag.plans.end(), [&](const plan_entry& p) { return !cpu_only(dag, p); });
  offers.push_back({ticket.id, duration{call.deadline - call.arrival}, call.cost,
                    on_gpus && cpu_only(dag, plan) ? what + ", on CPUs only" : what, duration{call.release - now}});
  return true;
}

/// The earliest finish at the cost that was asked for.
void state::offer_finish(slot s, std::vector<placing::offer>& offers) {
  const ns release = now + config.ticket_valid.count();
  const slot copy = copy_call(s, release);
  g.calls[copy].deadline = far_off;
  const dag_entry& dag = g.dags[g.calls[copy].dag];
  g.calls[copy].span = 2 * dag.least_latency;
  std::vector<std::uint32_t> by_latency;
  for (std::uint32_t p = 0; p < dag.plans.size(); ++p)
    if (dag.plans[p].cost <= g.calls[copy].max_cost)
      by_latency.push_back(p);
  std::sort(by_latency.begin(), by_latency.end(), [&](std::uint32_t a, std::uint32_t b) {
    return std::tuple{dag.plans[a].latency, a} < std::tuple{dag.plans[b].latency, b};
  });
  std::uint32_t best = none;
  ns best_finish = far_off;
  for (std::size_t i = 0, found = 0; i < by_latency.size() && found < finishes_tried && i < 4 * finishes_tried; ++i) {
    std::int64_t paid = 0;
    std::uint32_t failed_at = 0;
    g.begin();
    if (place_plan(copy, dag.plans[by_latency[i]], paid, failed_at)) {
      ++found;
      if (finish_of(g.calls[copy]) < best_finish) {
        best_finish = finish_of(g.calls[copy]);
        best = by_latency[i];
      }
    }
    g.take_back();
    for (stage_entry& stage : g.calls[copy].stages)
      stage.placed = false;
  }
  if (best == none)
    return g.free_call(copy);
  if (!hold(copy, dag.plans[best], "a later finish", offers))
    g.free_call(copy);
}

/// The least cost at the finish that was asked for.
void state::offer_cost(slot s, std::vector<placing::offer>& offers) {
  const dag_entry& dag = g.dags[g.calls[s].dag];
  std::size_t tried = 0;
  for (const plan_entry& plan : dag.plans) { // by rising cost
    const ns spare = (g.calls[s].deadline - now - plan.latency) / 2;
    if (plan.cost <= g.calls[s].max_cost || spare < least_validity)
      continue;
    if (tried++ == config.plans_tried)
      return;
    const ns release = now + std::min<ns>(config.ticket_valid.count(), spare);
    const slot copy = copy_call(s, release);
    if (hold(copy, plan, "a higher cost", offers))
      return;
    g.free_call(copy);
  }
}

/// The cheapest variants, whenever they are done.
void state::offer_cheapest(slot s, std::vector<placing::offer>& offers) {
  const dag_entry& dag = g.dags[g.calls[s].dag];
  const micro_cost known = offers.empty() ? placing::no_cost_limit : offers.front().cost;
  if (dag.plans.empty() || dag.plans.front().cost >= known)
    return;
  const ns release = now + config.ticket_valid.count();
  const slot copy = copy_call(s, release);
  g.calls[copy].deadline = far_off;
  g.calls[copy].span = 2 * dag.plans.front().latency;
  if (!hold(copy, dag.plans.front(), "the cheapest variants and a later finish", offers))
    g.free_call(copy);
}

void state::expire_tickets() {
  while (!tickets.empty() && tickets.front().expires <= now) {
    const slot s = tickets.front().call;
    tickets.erase(tickets.begin());
    drop_call(s);
    dirty = true;
  }
}

void state::on(const placing::ticket_redeemed& fact) {
  const auto refuse = [&](errc code, const std::string& why) {
    out->emplace_back(placing::refuse{fact.call, code, "ticket " + to_string(fact.ticket) + " " + why, {}, {}});
  };
  const auto at =
      std::find_if(tickets.begin(), tickets.end(), [&](const held_ticket& t) { return t.id == fact.ticket; });
  if (at == tickets.end())
    return refuse(errc::not_found, "is not held: it has expired, was redeemed before, or never was");
  const slot s = at->call;
  if (g.calls[s].client != fact.client)
    return refuse(errc::permission_denied, "was given to another client");
  if (g.calls[s].id != fact.call)
    return refuse(errc::invalid_argument, "was given for another call");
  if (find(call_slots, fact.call) != none)
    return refuse(errc::already_exists, "is for a call that is in flight");
  dirty = true;
  tickets.erase(at);
  call_entry& call = g.calls[s];
  call.held = false;
  call.release = 0;
  put(call_slots, call.id, s);
  ++g.dags[call.dag].calls;
  g.touch_call(s);
  if (manage_at == far_off)
    manage_at = now;
  admit_call(s, true);
  // The other offers to the same call are void.
  for (std::size_t i = 0; i < tickets.size();) {
    const slot other = tickets[i].call;
    if (g.calls[other].id != fact.call || g.calls[other].client != fact.client) {
      ++i;
      continue;
    }
    tickets.erase(tickets.begin() + static_cast<std::ptrdiff_t>(i));
    drop_call(other);
  }
}

} // namespace squall::policy::calendar
