// What a store on a disk promises beyond the port: it survives its process, guards its folder, and says what is wrong
// with it.
#include "base/random.hpp"
#include "kvs/store.hpp"
#include "scratch_folder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <charconv>
#include <csignal>
#include <fstream>
#include <iostream>
#include <map>
#include <thread>

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace squall::kvs {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::unique_ptr<store> open(const std::string& folder) {
  auto opened = open_rocksdb(folder);
  if (!opened.ok()) {
    ADD_FAILURE() << opened.error().message;
    std::abort();
  }
  return std::move(opened).value();
}

shared_bytes bytes(std::string_view text) { return shared_bytes::copy_of(text); }

// -- a value that tells whether it is whole
// ----------------------------------------------------------------------------------

/// "NUMBER:" and bytes that follow from it; now and then large enough for pieces.
std::string numbered_value(std::uint64_t number) {
  const std::size_t size = number % 50 == 7 ? 2 * piece_bytes + number % 1000 : number % 3 == 0 ? 20'000 : 100;
  std::string out = std::to_string(number) + ":";
  out.resize(out.size() + size, static_cast<char>('a' + number % 26));
  return out;
}

/// The number of a whole value; -1 for a torn one.
std::int64_t number_of(std::string_view value) {
  std::uint64_t number = 0;
  std::from_chars(value.data(), value.data() + value.size(), number);
  return value == numbered_value(number) ? static_cast<std::int64_t>(number) : -1;
}

constexpr std::uint64_t key_count = 40;

std::string key_of(std::uint64_t number) { return "k" + std::to_string(number % key_count); }

// -- other processes: this program again, with a job
// ---------------------------------------------------------------------------

/// Writes numbered values for ever and says which were acknowledged.
int write_for_ever(const std::string& folder, bool durable) {
  const auto s = open(folder);
  for (std::uint64_t number = 1;; ++number) {
    if (!s->put(key_of(number), bytes(numbered_value(number)), durable).ok())
      return 1;
    std::cout << number << std::endl;
  }
}

int hold(const std::string& folder) {
  const auto s = open(folder);
  std::cout << "held" << std::endl;
  ::pause();
  return 0;
}

/// Fills a file system of its own, frees it and goes on. 77: not allowed to make one here. The engine goes on when a
/// whole table of it (32 MiB) would fit again.
int fill_disk(const std::string& folder) {
  if (::unshare(CLONE_NEWNS) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
    return 77;
  ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  fs::create_directories(folder);
  if (::mount("none", folder.c_str(), "tmpfs", 0, "size=144m") != 0)
    return 77;
  const auto s = open(folder + "/store");
  const shared_bytes value = bytes(std::string(piece_bytes / 2, 'x'));
  if (!s->put("first", bytes("kept"), true).ok())
    return 2;
  std::ofstream{folder + "/ballast"} << std::string(110 << 20, 'b') << std::flush;
  result<entry> put{errc::ok, ""};
  for (int i = 0; i < 200; ++i) {
    put = s->put("fill" + std::to_string(i), value, true);
    if (!put.ok())
      break;
  }
  if (put.ok() || put.error().code != errc::unavailable || put.error().message.find("is full") == std::string::npos) {
    std::cout << (put.ok() ? "no error" : put.error().message) << std::endl;
    return 3;
  }
  if (read_all(*s, "first").value().text() != "kept")
    return 4;
  fs::remove(folder + "/ballast");
  for (int i = 0; i < 300; ++i) {
    put = s->put("after", bytes("space again"), true);
    if (put.ok())
      return 0;
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
  }
  std::cout << put.error().message << std::endl;
  return 5;
}

struct child {
  pid_t pid = -1;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> out{nullptr, &std::fclose};
};

/// A new image and not a mere fork: the engine's threads of this process would be missing in the child.
child run(const std::string& job, const std::string& folder) {
  int ends[2];
  if (::pipe(ends) != 0)
    std::abort();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    ::close(ends[0]);
    ::execl("/proc/self/exe", "kvs_disk_test", job.c_str(), folder.c_str(), nullptr);
    ::_exit(127);
  }
  ::close(ends[1]);
  child out;
  out.pid = pid;
  out.out.reset(::fdopen(ends[0], "r"));
  return out;
}

std::string line_from(child& c) {
  char line[256] = "";
  return std::fgets(line, sizeof line, c.out.get()) != nullptr ? std::string{line} : std::string{};
}

int end_of(child& c, int signal = 0) {
  if (signal != 0)
    ::kill(c.pid, signal);
  int status = 0;
  ::waitpid(c.pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// -- the process dies
// --------------------------------------------------------------------------------------------------------

/// Runs a writer for `duration`, kills it, and returns the last acknowledged number of each key.
std::map<std::string, std::int64_t> acknowledged_before_death(const std::string& folder, const std::string& job,
                                                              std::chrono::milliseconds life) {
  child writer = run(job, folder);
  std::jthread killer{[&] {
    std::this_thread::sleep_for(life);
    ::kill(writer.pid, SIGKILL);
  }};
  std::map<std::string, std::int64_t> out;
  for (std::string line = line_from(writer); line.ends_with('\n'); line = line_from(writer)) {
    const std::uint64_t number = std::stoull(line);
    out[key_of(number)] = static_cast<std::int64_t>(number);
  }
  killer.join();
  end_of(writer);
  return out;
}

TEST(StoreOnDisk, EveryAcknowledgedDurablePutIsThereAfterKill9) {
  for (int round = 0; round < 3; ++round) {
    const scratch_folder scratch;
    const auto acknowledged =
        acknowledged_before_death(scratch.store(), "write-durable", std::chrono::milliseconds{400 + 150 * round});
    ASSERT_FALSE(acknowledged.empty());
    const auto s = open(scratch.store());
    for (const auto& [key, number] : acknowledged) {
      const auto value = read_all(*s, key);
      ASSERT_TRUE(value.ok()) << key << " " << value.error().message;
      EXPECT_GE(number_of(value->text()), number) << key;
    }
  }
}

TEST(StoreOnDisk, OtherPutsMayVanishAfterKill9ButAreNeverTorn) {
  const scratch_folder scratch;
  const auto acknowledged = acknowledged_before_death(scratch.store(), "write", std::chrono::milliseconds{500});
  ASSERT_FALSE(acknowledged.empty());
  const auto s = open(scratch.store());
  const auto entries = s->list("", "", 1000);
  ASSERT_TRUE(entries.ok());
  for (const entry& e : *entries)
    EXPECT_GE(number_of(read_all(*s, e.key)->text()), 1) << e.key;
}

TEST(StoreOnDisk, APowerCutLeavesWhatWasWrittenBeforeSomeMoment) {
  const scratch_folder scratch;
  {
    const auto s = open(scratch.store());
    for (std::uint64_t number = 1; number <= 30; ++number)
      ASSERT_TRUE(s->put("k" + std::to_string(number), bytes(numbered_value(number)), false).ok());
  }
  fs::path log;
  for (const auto& file : fs::directory_iterator{scratch.store()})
    if (file.path().extension() == ".log" && fs::file_size(file) > 0)
      log = file.path().filename();
  ASSERT_FALSE(log.empty());
  random_source random{5};
  for (int round = 0; round < 12; ++round) {
    const std::string copy = scratch.path() + "/copy" + std::to_string(round);
    fs::copy(scratch.store(), copy);
    fs::resize_file(copy / log, random.below(fs::file_size(copy / log)));
    const auto s = open(copy);
    std::uint64_t found = 0;
    for (std::uint64_t number = 1; number <= 30; ++number) {
      const auto value = read_all(*s, "k" + std::to_string(number));
      if (!value.ok())
        continue;
      EXPECT_EQ(number_of(value->text()), static_cast<std::int64_t>(number));
      EXPECT_EQ(++found, number) << "an earlier write is missing";
    }
  }
}

TEST(StoreOnDisk, UploadsThatWereNotCommittedAreGoneAfterARestart) {
  const scratch_folder scratch;
  std::uint64_t upload = 0;
  {
    const auto s = open(scratch.store());
    ASSERT_TRUE(s->put("k", bytes("old"), false).ok());
    upload = s->begin("k", 5 * piece_bytes).value();
    for (std::uint64_t i = 0; i < 3; ++i)
      ASSERT_TRUE(s->append(upload, i * piece_bytes, bytes(std::string(piece_bytes, 'x'))).ok());
  }
  const auto s = open(scratch.store());
  EXPECT_EQ(s->append(upload, 3 * piece_bytes, bytes(std::string(piece_bytes, 'x'))).error().code, errc::not_found);
  EXPECT_EQ(read_all(*s, "k")->text(), "old");
}

TEST(StoreOnDisk, VersionsAreNotReusedAfterARestart) {
  const scratch_folder scratch;
  std::uint64_t last = 0;
  for (int round = 0; round < 3; ++round) {
    const auto s = open(scratch.store());
    for (int i = 0; i < 3; ++i) {
      const auto put = s->put("k", bytes("v"), false);
      ASSERT_GT(put->version, last);
      last = put->version;
    }
  }
}

// -- the folder
// ----------------------------------------------------------------------------------------------------------------

TEST(StoreOnDisk, TheFolderIsTheUsersAlone) {
  const scratch_folder scratch;
  const auto s = open(scratch.path() + "/deep/er/store");
  struct stat info {};
  ASSERT_EQ(::stat((scratch.path() + "/deep/er/store").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST(StoreOnDisk, ASecondOpenerIsToldWhoHoldsTheFolder) {
  const scratch_folder scratch;
  child holder = run("hold", scratch.store());
  ASSERT_EQ(line_from(holder), "held\n");
  const auto refused = open_rocksdb(scratch.store());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, errc::unavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("held by process " + std::to_string(holder.pid)));
  end_of(holder, SIGKILL);
  EXPECT_TRUE(open_rocksdb(scratch.store()).ok()) << "a dead holder holds nothing";
}

TEST(StoreOnDisk, AlsoWithinOneProcess) {
  const scratch_folder scratch;
  const auto s = open(scratch.store());
  EXPECT_THAT(open_rocksdb(scratch.store()).error().message,
              HasSubstr("held by process " + std::to_string(::getpid())));
  EXPECT_TRUE(s->put("k", bytes("still fine"), true).ok());
}

TEST(StoreOnDisk, APathThatIsNoFolderIsNamed) {
  const scratch_folder scratch;
  std::ofstream{scratch.store()} << "a file";
  EXPECT_EQ(open_rocksdb(scratch.store()).error().code, errc::invalid_argument);
  EXPECT_FALSE(open_rocksdb("/proc/nowhere/store").ok());
}

// -- damage
// --------------------------------------------------------------------------------------------------------------------

std::string damaged_store(const scratch_folder& scratch) {
  const auto s = open(scratch.store());
  for (std::uint64_t number = 1; number <= 20; ++number)
    EXPECT_TRUE(s->put(key_of(number), bytes(numbered_value(number)), true).ok());
  return scratch.store();
}

void expect_corrupt(const std::string& folder) {
  const auto opened = open_rocksdb(folder);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, errc::corrupt) << opened.error().message;
  EXPECT_THAT(opened.error().message, HasSubstr("'" + folder + "' is damaged"));
  EXPECT_THAT(opened.error().message, HasSubstr("restore the folder from a copy"));
}

TEST(StoreOnDisk, ADamagedManifestIsReported) {
  const scratch_folder scratch;
  const std::string folder = damaged_store(scratch);
  for (const auto& file : fs::directory_iterator{folder})
    if (file.path().filename().string().starts_with("MANIFEST"))
      std::ofstream{file.path(), std::ios::binary} << std::string(300, '\x5a');
  expect_corrupt(folder);
}

TEST(StoreOnDisk, ADamagedPointerIsReported) {
  const scratch_folder scratch;
  const std::string folder = damaged_store(scratch);
  std::ofstream{folder + "/CURRENT"} << "garbage";
  expect_corrupt(folder);
}

TEST(StoreOnDisk, ALostPointerDoesNotBecomeAnEmptyStore) {
  const scratch_folder scratch;
  const std::string folder = damaged_store(scratch);
  fs::remove(folder + "/CURRENT");
  expect_corrupt(folder);
}

// -- limits
// --------------------------------------------------------------------------------------------------------------------

std::size_t peak_memory_bytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) << 10;
}

TEST(StoreOnDisk, TheLargestValueGoesThroughInPiecesWithLittleMemory) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the address sanitizer keeps freed memory for a while";
#endif
  const scratch_folder scratch;
  const auto s = open(scratch.store());
  const std::size_t before = peak_memory_bytes();
  const auto upload = s->begin("big", max_value_bytes);
  ASSERT_TRUE(upload.ok());
  const auto piece_of = [](std::uint64_t offset) {
    return std::string(piece_bytes, static_cast<char>('a' + (offset / piece_bytes) % 26));
  };
  for (std::uint64_t offset = 0; offset < max_value_bytes; offset += piece_bytes)
    ASSERT_TRUE(s->append(*upload, offset, bytes(piece_of(offset))).ok()) << offset;
  const auto made = s->commit(*upload, true);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made->size_bytes, max_value_bytes);
  for (std::uint64_t offset = 0; offset < max_value_bytes; offset += piece_bytes)
    ASSERT_TRUE(s->read("big", offset, piece_bytes, made->version)->text() == piece_of(offset)) << offset;
  EXPECT_LT(peak_memory_bytes() - before, 200ull << 20) << "two tables being written, the cache and little else";
}

TEST(StoreOnDisk, SpaceOfReplacedValuesComesBack) {
  const scratch_folder scratch;
  {
    const auto s = open(scratch.store());
    const shared_bytes value = bytes(std::string(16 * piece_bytes, 'v'));
    for (int i = 0; i < 40; ++i)
      ASSERT_TRUE(s->put("k", value, false).ok());
  }
  std::uintmax_t used = 0;
  for (const auto& file : fs::directory_iterator{scratch.store()})
    used += file.file_size();
  EXPECT_LT(used, 400ull << 20) << "640 MiB were written, 16 MiB are held";
}

TEST(StoreOnDisk, AFullDiskIsAnAnswerAndNotTheEnd) {
  const scratch_folder scratch;
  child filler = run("fill-disk", scratch.path() + "/disk");
  const std::string said = line_from(filler);
  const int code = end_of(filler);
  if (code == 77)
    GTEST_SKIP() << "mounting a small file system is not allowed here";
  EXPECT_EQ(code, 0) << said;
}

} // namespace

int run_job(const std::string& job, const std::string& folder) {
  if (job == "write-durable" || job == "write")
    return write_for_ever(folder, job == "write-durable");
  return job == "hold" ? hold(folder) : fill_disk(folder);
}

} // namespace squall::kvs

int main(int argc, char** argv) {
  if (argc == 3 && argv[1][0] != '-')
    return squall::kvs::run_job(argv[1], argv[2]);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
