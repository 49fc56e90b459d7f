#pragma once

#include "calls/field_kinds.hpp"
#include "wire/codec.hpp"
#include "wire/detail/enums.hpp"
#include "wire/worker.hpp"

#include <limits>
#include <string>

namespace squall::wire::testing {

/// Fills every field of a message with something that is not its default, always the same.
class sample_filler {
public:
  template <class T>
  void operator()(const char* name, T& field) {
    fill(field, name);
  }

  template <class T>
  void fill(T& v, const std::string& name) {
    if constexpr (std::is_same_v<T, bool>) {
      v = true;
    } else if constexpr (std::is_enum_v<T>) {
      v = static_cast<T>(wire::detail::range_of<T>.last);
    } else if constexpr (std::is_unsigned_v<T>) {
      v = static_cast<T>(next());
    } else if constexpr (std::is_integral_v<T>) {
      v = -static_cast<T>(next());
    } else if constexpr (std::is_floating_point_v<T>) {
      v = 0.25 * static_cast<T>(next());
    } else if constexpr (std::is_same_v<T, duration>) {
      v = next() % 2 == 0 ? duration::max() : duration{-1'000'000};
    } else if constexpr (calls::strong_id_type<T>) {
      v = T{next() << 33};
    } else if constexpr (std::is_same_v<T, std::string>) {
      v = name + " " + std::to_string(next());
    } else if constexpr (std::is_same_v<T, functions::value>) {
      v = value();
    } else if constexpr (calls::vector_type<T>) {
      if (++depth_ < 5) { // predicates contain predicates
        v.resize(2);
        for (auto& element : v)
          fill(element, name);
      }
      --depth_;
    } else if constexpr (calls::map_type<T>) {
      fill(v["one"], name);
      fill(v["two"], name);
    } else if constexpr (calls::optional_type<T>) {
      fill(v.emplace(), name);
    } else if constexpr (calls::variant_type<T>) {
      fill(v.template emplace<std::variant_size_v<T> - 1>(), name);
    } else {
      T::fields(v, *this);
    }
  }

private:
  std::uint64_t next() { return number_ = (number_ * 5 + 3) & 0xff; }

  functions::value value() {
    using namespace functions;
    const tensor numbers = tensor_of<float>(datatype::fp32, {2, 1}, {1.5F, -2.0F});
    const tensor text = bytes_tensor({"squall", ""});
    const tensor empty{datatype::int64, {0, 3}, {}};
    switch (values_++ % 3) {
      case 0:
        return {numbers};
      case 1:
        return {value_list{functions::value{text}, functions::value{}, functions::value{empty}}};
      default:
        return {};
    }
  }

  std::uint64_t number_ = 7;
  int depth_ = 0;
  int values_ = 0;
};

template <class Message>
Message sample() {
  Message m;
  sample_filler filler;
  Message::fields(m, filler);
  return m;
}

/// Calls f.operator()<Message>(name) for every message.
template <class F>
void for_each_message(F f) {
#define EACH(name) f.template operator()<name>(#name)
  EACH(hello);
  EACH(welcome);
  EACH(ping);
  EACH(pong);
  EACH(reply);
  EACH(call_request);
  EACH(call_result);
  EACH(call_partial);
  EACH(cancel_request);
  EACH(result_taken);
  EACH(apply_function);
  EACH(apply_dag);
  EACH(remove);
  EACH(query);
  EACH(set_policy);
  EACH(shutdown);
  EACH(drain);
  EACH(node_hello);
  EACH(node_welcome);
  EACH(node_beat);
  EACH(node_leave);
  EACH(peers);
  EACH(define_function);
  EACH(define_dag);
  EACH(forget_dag);
  EACH(forget_function);
  EACH(start_call);
  EACH(drop_call);
  EACH(release_call);
  EACH(call_finished);
  EACH(settled);
  EACH(scatter);
  EACH(gathered);
  EACH(stage_partial);
  EACH(preload);
  EACH(residency);
  EACH(end_sequence);
  EACH(stage_ready);
  EACH(hand_out);
  EACH(order_short);
  EACH(unwanted_stage);
  EACH(order_report);
  EACH(want_replica);
  EACH(replica_report);
  EACH(node_drain);
  EACH(calls_answered);
  EACH(plans_held);
  EACH(store_put);
  EACH(store_get);
  EACH(store_delete);
  EACH(store_list);
  EACH(store_reply);
  EACH(worker::ready);
  EACH(worker::load);
  EACH(worker::loaded);
  EACH(worker::unload);
  EACH(worker::run);
  EACH(worker::done);
  EACH(worker::release);
  EACH(worker::cancel);
  EACH(worker::note);
  EACH(worker::segment);
  EACH(worker::partial);
  EACH(worker::call);
  EACH(worker::returned);
  EACH(worker::waiting);
  EACH(worker::state_request);
  EACH(worker::state_reply);
  EACH(worker::spawn);
  EACH(worker::spawned);
  EACH(worker::kill);
  EACH(worker::exited);
#undef EACH
}

inline std::string hex(const shared_bytes& bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const std::byte b : bytes.span()) {
    out += digits[static_cast<unsigned>(b) >> 4];
    out += digits[static_cast<unsigned>(b) & 15];
  }
  return out;
}

inline shared_bytes unhex(const std::string& text) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  return shared_bytes::take(std::move(bytes));
}

inline shared_bytes raw(std::string bytes) { return shared_bytes::take(std::move(bytes)); }

/// Equal frames, for messages that have no operator==.
inline bool same(const frames& a, const frames& b) { return a.header == b.header && a.payloads == b.payloads; }

} // namespace squall::wire::testing
