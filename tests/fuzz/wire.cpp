#include "../wire/samples.hpp"
#include "input.hpp"
#include "wire/bundle.hpp"

#include <algorithm>
#include <string>
#include <vector>

/// The first byte chooses the message, the next two say how long the header is; the rest are payloads of given lengths.
/// Whatever decodes is encoded again, and that decodes to the same bytes. A first byte of 255: the rest is a bundle.
namespace squall {
namespace {

wire::frames frames_from(fuzzing::input& in) {
  wire::frames out;
  const std::size_t header = in.byte() << 8 | in.byte();
  auto rest = in.rest();
  out.header = shared_bytes::copy_of(rest.substr(0, header));
  rest.remove_prefix(std::min(rest.size(), header));
  while (rest.size() > 1) {
    const auto size = std::min<std::size_t>(static_cast<std::uint8_t>(rest[0]), rest.size() - 1);
    out.payloads.push_back(shared_bytes::copy_of(rest.substr(1, size)));
    rest.remove_prefix(1 + size);
  }
  return out;
}

template <class Message>
void decode_one(const wire::frames& given) {
  const auto first = wire::decode<Message>(given, nullptr);
  if (!first.ok())
    return;
  const auto written = wire::encode(*first, request_id{17});
  const auto second = wire::decode<Message>(written, nullptr);
  if (!second.ok())
    fuzzing::broken("what was encoded does not decode: " + second.error().message);
  if (!wire::testing::same(wire::encode(*second, request_id{17}), written))
    fuzzing::broken("decoding and encoding changed the message");
}

void read_bundle(std::string_view rest) {
  std::string frame{"\x95\x01\x07\x00\x00\x90", 6};
  frame += rest;
  if (!wire::bundle_reader::is_bundle(std::as_bytes(std::span{frame})))
    return;
  wire::bundle_reader reader;
  reader.open(shared_bytes::copy_of(frame));
  wire::frames one;
  wire::bundle_writer again;
  auto got = reader.next(one);
  for (; got.ok() && *got; got = reader.next(one))
    again.add(one);
  if (!reader.empty())
    fuzzing::broken("something is left of a bundle that has ended");
  if (got.ok() && !std::ranges::equal(again.frame(), std::as_bytes(std::span{frame})))
    fuzzing::broken("reading and writing changed the bundle");
}

void fuzz(fuzzing::input& in) {
  auto which = static_cast<int>(in.byte());
  if (which == 255)
    return read_bundle(in.rest());
  const auto given = frames_from(in);
  wire::envelope_head head;
  (void)wire::peek(given.header.span(), head);
  wire::testing::for_each_message([&]<class Message>(const char*) {
    if (which-- == 0)
      decode_one<Message>(given);
  });
}

} // namespace
} // namespace squall

SQUALL_FUZZ_TARGET(squall::fuzz)
