#include "policy/calendar/calendar.hpp"

#include "policy/calendar/state.hpp"

#include <cstdio>
#include <cstdlib>
bool checking = false;

namespace squall::policy {

namespace {

class calendar_policy final : public dispatch_policy {
public:
  calendar_policy(const calendar::calendar_config& config, std::uint64_t last_id) {
    state_.config = config;
    state_.last_id = last_id;
  }

  std::string_view name() const override { return "calendar"; }

  void step(time_point now, const calls::placing::event& fact, std::vector<calls::placing::command>& out) override {
    state_.now = to_ns(now);
    state_.g.set_now(state_.now);
    state_.out = &out;
    std::visit([this](const auto& f) { state_.on(f); }, fact);
    state_.repair();
    state_.out = nullptr;
    if (checking) { if (auto w = state_.g.check(true); !w.empty()) { fprintf(stderr, "CHECK t=%ld fact %zu: %s\n", (long)(state_.now/1000000), fact.index(), w.c_str()); abort(); } }
  }

  std::optional<time_point> next_deadline() const override { return state_.next_deadline(); }
  void save(calls::binary_writer& out) const override { state_.save(out); }
  void restore(calls::binary_reader& in) override { state_.restore(in); }

private:
  calendar::state state_;
};

} // namespace

std::unique_ptr<dispatch_policy> make_calendar(const calendar::calendar_config& config, std::uint64_t last_id) {
  return std::make_unique<calendar_policy>(config, last_id);
}

} // namespace squall::policy
