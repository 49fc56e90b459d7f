// A value of 1 MiB to another process and its result of 1 MiB back: written into an arena, sent as a reference over the
// bridge, read and copied into a result by the role; against the same bytes in plain ZeroMQ messages over tcp. p50 on
// one core. Each side writes the value once, copies it once into the result, and reads the result once.
#include "bench/echo_bridge.hpp"
#include "bench/support.hpp"
#include "wire/arena.hpp"

#include <cstring>

using namespace squall;
using namespace squall::bench;

namespace {

constexpr std::size_t value_bytes = 1 << 20;

/// One process's end of the data plane.
class shared_memory {
public:
  shared_memory() {
    auto made = wire::arena::create(64 << 20);
    SQUALL_CHECK(made.ok(), made.error().message);
    own_ = *made;
    known_ = wire::arena_map::create();
    known_->add(own_);
  }
  /// A message with a copy of the value in the arena; gives back the one before, whose reader is done when the next is
  /// made.
  shared_bytes put(const shared_bytes& value) {
    if (before_.size > 0)
      own_->release(before_);
    wire::store_put m;
    std::vector<wire::arena_ref> made;
    const functions::tensor t{functions::datatype::uint8, {static_cast<std::int64_t>(value.size())}, value};
    const auto block = own_->allocate(value.size());
    SQUALL_CHECK(block.ok(), block.error().message);
    std::memcpy(block->bytes.data(), value.data(), value.size());
    before_ = block->ref;
    m.piece = {functions::tensor{t.type, t.shape, own_->freeze(*block)}};
    return wire::encode(m, request_id{1}, {.local = known_.get()}, wire::role::controller).header;
  }
  shared_bytes take(shared_bytes header) {
    const auto m = wire::decode<wire::store_put>({std::move(header), {}}, known_.get());
    SQUALL_CHECK(m.ok(), m.error().message);
    return m->piece.as_tensor()->data;
  }

private:
  std::shared_ptr<wire::arena> own_;
  std::shared_ptr<wire::arena_map> known_;
  wire::arena_ref before_;
};

/// Answers a value with a copy of it in an arena of its own.
class copy_role final : public actors::role_service {
public:
  void start(actors::post& out) override { out_ = &out; }
  void on_messages(std::span<actors::incoming> messages) override {
    for (auto& m : messages)
      static_cast<void>(out_->send(m.from, {memory_.put(memory_.take(m.message.header)), {}}));
  }
  void on_peer_lost(actors::peer_id) override {}
  void on_alarm() override {}
  void stop() override {}

private:
  actors::post* out_ = nullptr;
  shared_memory memory_;
};

} // namespace

int main(int argc, char** argv) {
  const settings s = parse(argc, argv);
  pin_to_one_core();
  wire::sweep_dead_arenas();
  const auto value = shared_bytes::take(std::string(value_bytes, 'v'));
  std::vector<std::byte> seen(value_bytes);
  const std::size_t count = s.size(500, 5);
  fnv1a work;
  comparison c;
  {
    const child_process ours{[](const auto& tell) { serve_bridge(std::make_unique<copy_role>(), tell); }};
    const child_process reference{[](const auto& tell) { serve_plain_echo(true, tell); }};
    plain_client to_ours{ours.endpoint()};
    plain_client to_reference{reference.endpoint()};
    shared_memory memory;

    const auto p50_us = [&](const auto& once) {
      std::vector<double> times;
      for (std::size_t i = 0; i < count + count / 10 + 1; ++i) {
        const std::int64_t begun = now_ns();
        once();
        if (i > count / 10)
          times.push_back(static_cast<double>(now_ns() - begun) * 1e-3);
        SQUALL_CHECK(std::memcmp(seen.data(), value.data(), value_bytes) == 0);
      }
      work.add(times.size() * value_bytes);
      return median(std::move(times));
    };
    const auto by_reference = [&] {
      to_ours.send(memory.put(value).span());
      const auto header = to_ours.receive();
      const auto result = memory.take(shared_bytes::copy_of(header.data(), header.size()));
      std::memcpy(seen.data(), result.data(), result.size());
    };
    const auto by_message = [&] {
      to_reference.send(value.span());
      const auto result = to_reference.receive();
      std::memcpy(seen.data(), result.data(), result.size());
    };
    c = compare(
        s.size(9, 2), [&] { return p50_us(by_reference); }, [&] { return p50_us(by_message); });
  }
  wire::sweep_dead_arenas(); // the killed child's
  report(s, "payload", c, "us", work);
}
