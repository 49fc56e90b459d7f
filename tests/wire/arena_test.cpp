#include "wire/codec.hpp"
#include "wire/detail/arena_file.hpp"
#include "wire/detail/free_ranges.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

namespace squall::wire {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t mebibyte = 1 << 20;

std::shared_ptr<arena> make_arena(std::size_t capacity = 32 * mebibyte) {
  auto made = arena::create(capacity);
  SQUALL_CHECK(made.ok(), made.error().message);
  return *made;
}

shared_bytes put(arena& a, std::string_view text) {
  const auto block = a.allocate(text.size());
  SQUALL_CHECK(block.ok(), block.error().message);
  std::memcpy(block->bytes.data(), text.data(), text.size());
  return a.freeze(*block);
}

arena_ref ref_of(const arena& a, const shared_bytes& bytes) {
  return {a.id(), static_cast<std::uint64_t>(bytes.data() - a.memory().data()), bytes.size()};
}

functions::value big_value(std::size_t size, char fill) {
  return {functions::tensor{
      functions::datatype::uint8, {static_cast<std::int64_t>(size)}, shared_bytes::take(std::string(size, fill))}};
}

TEST(FreeRanges, JoinNeighboursAndReuseTheLowestPlace) {
  detail::free_ranges free{0, 1000};
  EXPECT_EQ(free.take(100), 0U);
  EXPECT_EQ(free.take(200), 100U);
  EXPECT_EQ(free.take(300), 300U);
  EXPECT_EQ(free.take(500), std::nullopt);
  free.give(0, 100);
  free.give(300, 300);
  EXPECT_EQ(free.count(), 2U);
  EXPECT_EQ(free.take(50), 0U);
  free.give(0, 50);
  free.give(100, 200);
  EXPECT_EQ(free.count(), 1U);
  EXPECT_EQ(free.take(1000), 0U);
  EXPECT_EQ(free.count(), 0U);
}

TEST(Arena, BytesAreSeenThroughTheirReference) {
  const auto own = make_arena();
  const shared_bytes bytes = put(*own, "hello");
  const auto reader = arena_map::create(); // as another process would
  const auto seen = reader->resolve(ref_of(*own, bytes));
  ASSERT_TRUE(seen.ok()) << seen.error().message;
  EXPECT_EQ(seen->text(), "hello");
  EXPECT_EQ(reader->locate(*seen), ref_of(*own, bytes));
  EXPECT_EQ(reader->locate(bytes), std::nullopt);
  EXPECT_EQ(reader->locate(shared_bytes::copy_of("x")), std::nullopt);
}

TEST(Arena, BlocksAreReusedWhenReleasedAndUnread) {
  const auto own = make_arena();
  shared_bytes first = put(*own, std::string(100, 'a'));
  const arena_ref ref = ref_of(*own, first);
  own->release(ref);
  EXPECT_EQ(own->used_bytes(), 128U);
  EXPECT_NE(ref_of(*own, put(*own, "b")).offset, ref.offset);
  shared_bytes copy = first;
  first = {};
  EXPECT_EQ(copy.text(), std::string(100, 'a'));
  copy = {};
  EXPECT_EQ(ref_of(*own, put(*own, "c")).offset, ref.offset);
}

TEST(Arena, AReferenceThatComesHomeCountsAsAReader) {
  const auto own = make_arena();
  const auto known = arena_map::create();
  known->add(own);
  shared_bytes bytes = put(*own, "round trip");
  const arena_ref ref = ref_of(*own, bytes);
  auto back = known->resolve({ref.arena, ref.offset + 6, 4});
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back->text(), "trip");
  bytes = {};
  own->release(ref);
  EXPECT_EQ(own->used_bytes(), 64U);
  back = error{};
  EXPECT_EQ(own->used_bytes(), 0U);
  EXPECT_EQ(known->resolve(ref).error().code, errc::corrupt);
}

TEST(Arena, UnknownReleasesAreIgnored) {
  const auto own = make_arena();
  const shared_bytes bytes = put(*own, "here");
  own->release({own->id(), 5, 1});
  own->release({own->id() + 1, ref_of(*own, bytes).offset, 4});
  EXPECT_EQ(own->used_bytes(), 64U);
}

TEST(Arena, AFullArenaIsAnAnswer) {
  const auto own = make_arena(mebibyte);
  const auto block = own->allocate(mebibyte - detail::arena_header_bytes);
  ASSERT_TRUE(block.ok());
  EXPECT_EQ(own->allocate(1).error().code, errc::overloaded);
  own->release(block->ref);
  EXPECT_TRUE(own->allocate(1).ok());
  EXPECT_EQ(own->allocate(max_value_bytes + 1).error().code, errc::too_large);
}

/// Exit codes of the child below.
enum : int { as_expected = 0, no_namespace = 1, wrong_answer = 2 };

int fill_a_small_file_system() {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=40m") != 0)
    return no_namespace;
  const auto own = arena::create(256 * mebibyte); // sparse: larger than its file system
  if (!own.ok())
    return wrong_answer;
  for (int i = 0; i < 20; ++i) {
    const auto block = (*own)->allocate(10 * mebibyte);
    if (!block.ok())
      return i == 3 && block.error().code == errc::overloaded &&
                     block.error().message.find("/dev/shm") != std::string::npos
                 ? as_expected
                 : wrong_answer;
    std::memset(block->bytes.data(), 1, block->bytes.size());
  }
  return wrong_answer;
}

TEST(Arena, AFullFileSystemIsAnAnswerAndNoSignal) {
  const pid_t child = ::fork();
  if (child == 0)
    ::_exit(fill_a_small_file_system());
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  if (WEXITSTATUS(status) == no_namespace)
    GTEST_SKIP() << "this user may not make a mount namespace";
  EXPECT_EQ(WEXITSTATUS(status), as_expected);
}

TEST(Arena, BadReferencesAreErrors) {
  const auto own = make_arena();
  const shared_bytes bytes = put(*own, "x");
  const auto reader = arena_map::create();
  const std::uint64_t id = own->id();
  for (const arena_ref& bad :
       {arena_ref{id, 0, 8}, arena_ref{id, 4095, 8}, arena_ref{id, 17 * mebibyte, 8},
        arena_ref{id, 4096, 33 * mebibyte}, arena_ref{id, ~0ULL, 2}, arena_ref{id, ~0ULL - 1, ~0ULL >> 40}})
    EXPECT_EQ(reader->resolve(bad).error().code, errc::corrupt) << bad.offset << " " << bad.size;
  EXPECT_EQ(reader->resolve({id, 4096, max_value_bytes + 1}).error().code, errc::too_large);
  EXPECT_EQ(reader->resolve({id ^ 1, 4096, 1}).error().code, errc::data_loss);
}

TEST(Arena, FilesThatAreNoArenaAreRefused) {
  const std::uint64_t id = 0x5ca1ab1e00000000ULL + static_cast<std::uint64_t>(::getpid());
  const std::string path = detail::arena_path(id);
  const auto reader = arena_map::create();
  std::ofstream{path} << "short";
  EXPECT_EQ(reader->resolve({id, 4096, 1}).error().code, errc::corrupt);
  std::ofstream{path} << std::string(8192, 'x');
  EXPECT_EQ(reader->resolve({id, 4096, 1}).error().code, errc::corrupt);
  fs::remove(path);
  fs::create_symlink("/etc/hostname", path);
  EXPECT_EQ(reader->resolve({id, 4096, 1}).error().code, errc::permission_denied);
  fs::remove(path);
}

TEST(Arena, MemoryOutlivesTheArenaWhileItIsRead) {
  auto own = make_arena();
  const std::string path = detail::arena_path(own->id());
  EXPECT_TRUE(fs::exists(path));
  EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  const shared_bytes bytes = put(*own, "still here");
  own.reset();
  EXPECT_FALSE(fs::exists(path));
  EXPECT_EQ(bytes.text(), "still here");
}

TEST(Arena, ArenasOfKilledOwnersAreSweptAndReadersKeepThem) {
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  const pid_t owner = ::fork();
  if (owner == 0) {
    const auto own = make_arena();
    const shared_bytes bytes = put(*own, "last words");
    const arena_ref ref = ref_of(*own, bytes);
    if (::write(pipe_ends[1], &ref, sizeof ref) != sizeof ref)
      ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  arena_ref ref;
  ASSERT_EQ(::read(pipe_ends[0], &ref, sizeof ref), static_cast<ssize_t>(sizeof ref));
  const auto reader = arena_map::create();
  const auto bytes = reader->resolve(ref);
  ASSERT_TRUE(bytes.ok()) << bytes.error().message;

  sweep_dead_arenas();
  EXPECT_TRUE(fs::exists(detail::arena_path(ref.arena))) << "the owner lives";
  ::kill(owner, SIGKILL);
  ::waitpid(owner, nullptr, 0);
  EXPECT_GE(sweep_dead_arenas(), 1U);
  EXPECT_FALSE(fs::exists(detail::arena_path(ref.arena)));
  EXPECT_EQ(bytes->text(), "last words");
  reader->forget(ref.arena);
  EXPECT_EQ(bytes->text(), "last words");
  EXPECT_EQ(reader->resolve(ref).error().code, errc::data_loss);
  ::close(pipe_ends[0]);
  ::close(pipe_ends[1]);
}

TEST(Arena, HostKeyIsStable) {
  EXPECT_EQ(host_key(), host_key());
  EXPECT_NE(host_key(), 0U);
}

TEST(Arena, ManyThreadsMayUseOne) {
  const auto own = make_arena();
  const auto known = arena_map::create();
  known->add(own);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        const shared_bytes bytes =
            put(*own, std::string(static_cast<std::size_t>(64 + i % 500), static_cast<char>('a' + t)));
        const auto ref = known->locate(bytes);
        ASSERT_TRUE(ref.has_value());
        const auto again = known->resolve(*ref);
        ASSERT_TRUE(again.ok());
        own->release(*ref);
        ASSERT_EQ(again->text().find_first_not_of(static_cast<char>('a' + t)), std::string_view::npos);
      }
    });
  threads.clear();
  EXPECT_EQ(own->used_bytes(), 0U);
}

TEST(Share, LargeTensorsMoveToTheArenaAndTravelAsReferences) {
  const auto own = make_arena();
  const auto here = arena_map::create();
  here->add(own);
  store_put message;
  message.key = "k";
  message.piece = {
      functions::value_list{big_value(share_threshold_bytes, 'L'), big_value(10, 's'), functions::value{}}};
  std::vector<arena_ref> made;
  message.piece = share(message.piece, *own, *here, made);
  EXPECT_EQ(made.size(), 1U);
  EXPECT_EQ(share(message.piece, *own, *here, made), message.piece);
  EXPECT_EQ(made.size(), 1U) << "what is shared already is not shared again";

  const frames sent = encode(message, request_id{1}, {.local = here.get()});
  EXPECT_EQ(sent.payloads.size(), 1U);
  const auto there = arena_map::create();
  const auto received = decode<store_put>(sent, there.get());
  ASSERT_TRUE(received.ok()) << received.error().message;
  EXPECT_EQ(received->piece, message.piece);
  EXPECT_EQ(decode<store_put>(sent, nullptr).error().code, errc::corrupt);
  const auto inlined = encode(message, request_id{1});
  EXPECT_EQ(inlined.payloads.size(), 2U);
}

TEST(Share, ATensorThatDoesNotFitStaysWhereItIs) {
  const auto own = make_arena(128 * 1024);
  const auto here = arena_map::create();
  here->add(own);
  std::vector<arena_ref> made;
  const functions::value v = big_value(mebibyte, 'x');
  EXPECT_EQ(share(v, *own, *here, made), v);
  EXPECT_TRUE(made.empty());
}

} // namespace
} // namespace squall::wire
