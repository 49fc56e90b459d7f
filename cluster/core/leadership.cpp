#include "cluster/core/leadership.hpp"

#include "base/check.hpp"

#include <algorithm>
#include <utility>

namespace squall::cluster {

candidate::candidate(const leadership_config& config, time_point now) : config_(config), look_at_(now) {
  SQUALL_CHECK(config_.self != 0 && config_.lease > duration{0}, config_.self, config_.lease.count());
}

std::vector<lease_command> candidate::take_commands() { return std::exchange(commands_, {}); }

/// What a clock may gain or lose in this time, and a nanosecond for the rounding.
duration candidate::allowance(duration of) const {
  return duration{of.count() / 1'000'000 * config_.drift_ppm + config_.drift_ppm + 1};
}

void candidate::step(time_point now, const lease_event& fact) {
  if (gone_)
    return;
  if (leading_ && now >= leads_until_)
    depose("the lease ended before it was renewed");
  if (const auto* f = std::get_if<record_found>(&fact))
    found(now, *f);
  else if (const auto* w = std::get_if<record_written>(&fact))
    written(now, *w);
  else if (const auto* d = std::get_if<record_differs>(&fact); d && answers(d->request))
    look_again(now);
  else if (const auto* x = std::get_if<arbiter_failed>(&fact); x && answers(x->request))
    look_again(now + config_.look_every() / 2);
  else if (std::holds_alternative<resign_wanted>(fact))
    resign(now);
  if (open_ && now >= open_->sent + config_.answer_within())
    look_again(now);
  advance(now);
}

/// What the arbiter has is not known any more.
void candidate::look_again(time_point at) {
  open_.reset();
  known_ = false;
  look_at_ = at;
}

void candidate::found(time_point now, const record_found& fact) {
  if (!answers(fact.request) || open_->writes)
    return;
  open_.reset();
  look_at_ = now + config_.look_every();
  // The lease of another is counted from the first sight of each version, however often it is looked at.
  if (version_ != fact.version || free_at_ == time_point{}) {
    const duration lease = std::max(fact.record.lease, config_.lease);
    free_at_ = now + lease + allowance(lease);
  }
  known_ = true;
  version_ = fact.version;
  record_ = fact.record;
  if (leading_ && (record_.holder != config_.self || record_.term != term_))
    depose("another leads: " + record_.endpoint);
  tell_who_leads();
}

void candidate::written(time_point now, const record_written& fact) {
  if (!answers(fact.request) || !open_->writes)
    return;
  const request was = *std::exchange(open_, std::nullopt);
  known_ = true;
  version_ = fact.version;
  record_ = *was.writes;
  look_at_ = now + config_.look_every();
  if (record_.holder != config_.self)
    return;
  const time_point until = was.sent + config_.lease - allowance(config_.lease);
  // Too late to be of use, or of a term that was left: it takes the next.
  if (now >= until || (!leading_ && record_.term == term_))
    return;
  leads_until_ = until;
  renew_at_ = was.sent + config_.renew_every();
  if (std::exchange(leading_, true))
    return;
  term_ = record_.term;
  told_ = {};
  commands_.push_back(begin_to_lead{term_});
}

void candidate::depose(std::string why) {
  leading_ = false;
  commands_.push_back(stop_leading{std::move(why)});
}

/// Gives the lease back, if there is one, so that nobody has to wait for its end.
void candidate::resign(time_point now) {
  if (std::exchange(resigning_, true))
    return;
  const bool led = std::exchange(leading_, false);
  open_.reset();
  if (led && known_) {
    lease_record record = record_;
    record.holder = 0;
    record.endpoint.clear();
    write(now, std::move(record));
  }
}

bool candidate::may_take(time_point now) const {
  return known_ && (version_ == 0 || record_.holder == 0 || record_.holder == config_.self || now >= free_at_);
}

void candidate::advance(time_point now) {
  if (open_)
    return;
  if (resigning_) {
    gone_ = true;
    commands_.push_back(given_back{});
  } else if (leading_ && known_ && now >= renew_at_) {
    lease_record record = record_;
    ++record.renewals;
    write(now, std::move(record));
  } else if (!leading_ && may_take(now)) {
    write(now, {record_.term + 1, config_.self, 0, config_.lease, config_.endpoint});
  } else if ((!leading_ || !known_) && now >= look_at_) {
    read(now);
  }
}

void candidate::read(time_point now) {
  open_ = request{++last_request_, now, std::nullopt};
  commands_.push_back(read_record{last_request_});
}

void candidate::write(time_point now, lease_record record) {
  open_ = request{++last_request_, now, record};
  commands_.push_back(write_record{last_request_, version_, std::move(record)});
}

void candidate::tell_who_leads() {
  other_leads now{record_.term, record_.endpoint};
  if (leading_ || record_.holder == config_.self || now == told_)
    return;
  told_ = now;
  commands_.push_back(std::move(now));
}

std::optional<time_point> candidate::next_deadline() const {
  if (gone_)
    return std::nullopt;
  time_point at = never;
  if (leading_)
    at = leads_until_;
  if (open_)
    at = std::min(at, open_->sent + config_.answer_within());
  else if (leading_ && known_)
    at = std::min(at, renew_at_);
  else
    at = std::min({at, look_at_, !leading_ && known_ ? free_at_ : never});
  return at;
}

} // namespace squall::cluster
