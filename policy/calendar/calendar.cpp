#include "policy/calendar/calendar.hpp"

#include "policy/calendar/state.hpp"

namespace squall::policy::calendar {

calendar_policy::calendar_policy(const calendar_config& config, std::uint64_t last_id)
    : state_(std::make_unique<state>()) {
  state_->config = config;
  state_->last_id = last_id;
}
calendar_policy::~calendar_policy() = default;

void calendar_policy::step(time_point now, const placing::event& fact, std::vector<placing::command>& out) {
  state_->now = to_ns(now);
  state_->g.set_now(state_->now);
  state_->out = &out;
  state_->expire_tickets();
  std::visit([this](const auto& f) { state_->on(f); }, fact);
  state_->repair();
  state_->out = nullptr;
}

std::optional<time_point> calendar_policy::next_deadline() const { return state_->next_deadline(); }
void calendar_policy::save(calls::binary_writer& out) const { state_->save(out); }
void calendar_policy::restore(calls::binary_reader& in) { state_->restore(in); }

std::string calendar_policy::check(bool kept) const { return state_->g.check(kept); }

std::size_t calendar_policy::booked() const {
  std::size_t count = 0;
  for (const variant_entry& v : state_->g.variants)
    count += v.open.size();
  return count;
}

std::size_t calendar_policy::memory_bytes() const {
  const graph& g = state_->g;
  std::size_t sum = g.batches.capacity() * sizeof(batch_entry) + g.calls.capacity() * sizeof(call_entry) +
                    g.replicas.capacity() * sizeof(replica_entry) + g.lanes.capacity() * sizeof(lane_entry) +
                    g.nodes.capacity() * sizeof(node_entry) + g.dags.capacity() * sizeof(dag_entry) +
                    g.variants.capacity() * sizeof(variant_entry);
  for (const batch_entry& b : g.batches)
    sum += b.tasks.capacity() * sizeof(task_ref);
  for (const call_entry& c : g.calls)
    sum += c.stages.capacity() * sizeof(stage_entry) + c.tasks.capacity() * sizeof(task_entry);
  for (const lane_entry& l : g.lanes)
    sum += l.order.capacity() * sizeof(slot) + l.keys.capacity() * sizeof(ns);
  for (const replica_entry& r : g.replicas)
    sum += r.order.capacity() * sizeof(slot);
  return sum;
}

result<std::unique_ptr<dispatch_policy>> make_calendar(const dispatch_policy_setup& setup) {
  option_reader options{setup};
  calendar_config config;
  config.plans_tried = static_cast<std::uint32_t>(options.number("plans", config.plans_tried, 64));
  config.no_place_ppm = static_cast<std::uint32_t>(options.number("no-place-ppm", config.no_place_ppm, 1'000'000));
  config.tickets_per_client = static_cast<std::uint32_t>(options.number("tickets", config.tickets_per_client, 1000));
  config.ticket_valid = std::chrono::milliseconds{static_cast<std::int64_t>(options.number("ticket-ms", 200, 60'000))};
  SQUALL_TRY(options.finish());
  return std::unique_ptr<dispatch_policy>{std::make_unique<calendar_policy>(config, setup.last_id)};
}

} // namespace squall::policy::calendar
