#pragma once

#include "base/time.hpp"

#include <cstdint>

namespace squall::policy::calendar {

/// Rules of the calendar that an operator may set. Shares are in millionths.
struct calendar_config {
  std::uint32_t plans_tried = 8;       ///< for one call, cheapest price first
  std::uint32_t no_place_ppm = 15'000; ///< of the calls may find no place at a price that they could pay
  duration manage_every = std::chrono::milliseconds{50};      ///< how often residency is reconsidered
  duration demand_half_life = std::chrono::milliseconds{150}; ///< of what was asked for, where residency is decided
  std::uint32_t loads_at_once = 64;                           ///< on CPUs, each time residency is reconsidered
  std::uint32_t swap_ppm = 1'500'000;     ///< on CPUs a resident variant leaves for what is worth so much more
  std::uint32_t gpu_swap_ppm = 2'500'000; ///< and on GPUs
  duration ticket_valid = std::chrono::milliseconds{200}; ///< how long an offer's booking is held
  std::uint32_t tickets_per_client = 6;                   ///< held at once
  std::uint32_t tickets = 256;                            ///< held at once, of all clients
  std::uint32_t held_ppm = 30'000;       ///< of the lane time of a ticket's validity may be held, beside one offer
  std::uint32_t held_calm_ppm = 500'000; ///< by offers to one call alone, while few batches wait
  std::uint32_t max_calls = 100'000;     ///< admitted and not ended, offers included
  duration load_retry = std::chrono::seconds{1}; ///< after a failed load of a variant
  duration overrun_margin =
      std::chrono::milliseconds{1}; ///< what a batch that should have ended is expected to take yet

  friend bool operator==(const calendar_config&, const calendar_config&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("plans_tried", s.plans_tried);
    v("no_place_ppm", s.no_place_ppm);
    v("manage_every_ns", s.manage_every);
    v("demand_half_life_ns", s.demand_half_life);
    v("loads_at_once", s.loads_at_once);
    v("swap_ppm", s.swap_ppm);
    v("gpu_swap_ppm", s.gpu_swap_ppm);
    v("ticket_valid_ns", s.ticket_valid);
    v("tickets_per_client", s.tickets_per_client);
    v("tickets", s.tickets);
    v("held_ppm", s.held_ppm);
    v("held_calm_ppm", s.held_calm_ppm);
    v("max_calls", s.max_calls);
    v("load_retry_ns", s.load_retry);
    v("overrun_margin_ns", s.overrun_margin);
  }
};

} // namespace squall::policy::calendar
