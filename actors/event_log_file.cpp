#include "actors/event_log_file.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <filesystem>
#include <mutex>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

namespace squall::actors {

namespace fs = std::filesystem;

namespace {

constexpr duration flush_delay = std::chrono::milliseconds{10};

std::string segment_name(std::uint64_t number) {
  std::string digits = std::to_string(number);
  return std::string(8 - std::min<std::size_t>(8, digits.size()), '0') + digits + ".log";
}

std::optional<std::uint64_t> segment_number(const fs::path& path) {
  if (path.extension() != ".log")
    return std::nullopt;
  const std::string stem = path.stem().string();
  std::uint64_t number = 0;
  const auto [end, code] = std::from_chars(stem.data(), stem.data() + stem.size(), number);
  if (code != std::errc{} || end != stem.data() + stem.size())
    return std::nullopt;
  return number;
}

std::vector<std::uint64_t> segment_numbers(const std::string& folder) {
  std::vector<std::uint64_t> numbers;
  std::error_code ignored;
  for (const auto& file : fs::directory_iterator(folder, ignored))
    if (const auto number = segment_number(file.path()))
      numbers.push_back(*number);
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

} // namespace

/// Owns the file in a thread of its own. Chunks come in order; a chunk may begin a segment.
class event_log_file::writer {
public:
  writer(const event_log_options& options, logger& log) : options_(options), log_(log) {
    const auto numbers = segment_numbers(options.folder);
    next_number_ = numbers.empty() ? 1 : numbers.back() + 1;
    thread_ = std::thread{[this] { run(); }};
    pthread_setname_np(thread_.native_handle(), "squall.eventlog");
  }

  ~writer() {
    {
      const std::lock_guard lock{mutex_};
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  [[nodiscard]] std::size_t unwritten() const {
    const std::lock_guard lock{mutex_};
    return unwritten_;
  }

  void push(std::vector<std::byte> bytes, bool begins_segment) {
    {
      const std::lock_guard lock{mutex_};
      unwritten_ += bytes.size();
      chunks_.push_back({std::move(bytes), begins_segment});
    }
    wake_.notify_one();
  }

private:
  struct chunk {
    std::vector<std::byte> bytes;
    bool begins_segment = false;
  };

  void run() {
    std::unique_lock lock{mutex_};
    for (;;) {
      const auto wanted = [this] { return stopping_ || !chunks_.empty(); };
      // fsync once a second while something is unsynced; sleep without a time-out otherwise, so that an idle process
      // stays idle.
      if (dirty_)
        wake_.wait_for(lock, std::chrono::seconds{1}, wanted);
      else
        wake_.wait(lock, wanted);
      if (chunks_.empty() && stopping_)
        break;
      std::deque<chunk> work = std::exchange(chunks_, {});
      lock.unlock();
      std::size_t written = 0;
      for (const chunk& c : work) {
        write(c);
        written += c.bytes.size();
      }
      if (last_sync_ + std::chrono::seconds{1} <= std::chrono::steady_clock::now())
        sync();
      lock.lock();
      unwritten_ -= written;
    }
    lock.unlock();
    sync();
    if (file_ >= 0)
      ::close(file_);
  }

  void write(const chunk& c) {
    if (c.begins_segment)
      open_segment();
    if (file_ < 0)
      return;
    std::size_t done = 0;
    while (done < c.bytes.size()) {
      const ssize_t n = ::write(file_, c.bytes.data() + done, c.bytes.size() - done);
      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0) {
        fail("cannot write");
        return;
      }
      done += static_cast<std::size_t>(n);
    }
    dirty_ = true;
  }

  void open_segment() {
    if (file_ >= 0) {
      sync();
      ::close(file_);
    }
    path_ = options_.folder + "/" + segment_name(next_number_++);
    file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file_ < 0)
      fail("cannot create");
    auto numbers = segment_numbers(options_.folder);
    for (std::size_t i = 0; i + options_.segments_kept < numbers.size(); ++i) {
      std::error_code ignored;
      fs::remove(options_.folder + "/" + segment_name(numbers[i]), ignored);
    }
  }

  void sync() {
    if (file_ >= 0 && dirty_)
      ::fdatasync(file_);
    last_sync_ = std::chrono::steady_clock::now();
    dirty_ = false;
  }

  /// Recording ends until the next segment; serving goes on.
  void fail(const char* what) {
    log_.error("event-log", what, {{"file", path_}, {"error", std::strerror(errno)}});
    if (file_ >= 0)
      ::close(file_);
    file_ = -1;
    dirty_ = false;
  }

  event_log_options options_;
  logger& log_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<chunk> chunks_;  // guarded by mutex_
  std::size_t unwritten_ = 0; // guarded by mutex_
  bool stopping_ = false;     // guarded by mutex_
  // The rest belongs to the thread.
  std::uint64_t next_number_ = 1;
  std::string path_;
  int file_ = -1;
  bool dirty_ = false;
  std::chrono::steady_clock::time_point last_sync_{};
  std::thread thread_;
};

result<std::unique_ptr<event_log_file>> event_log_file::create(const event_log_options& options, time_point now,
                                                               snapshot_source snapshot, logger& log) {
  std::error_code code;
  fs::create_directories(options.folder, code);
  if (!code)
    fs::permissions(options.folder, fs::perms::owner_all, code);
  if (code)
    return error{errc::unavailable, "event log: cannot make folder " + options.folder + ": " + code.message(), {}};
  std::unique_ptr<event_log_file> file{
      new event_log_file(options, std::move(snapshot), log, std::make_unique<writer>(options, log))};
  file->begin_segment(now);
  return file;
}

event_log_file::event_log_file(const event_log_options& options, snapshot_source snapshot, logger& log,
                               std::unique_ptr<writer> out)
    : options_(options), snapshot_(std::move(snapshot)), log_(log), writer_(std::move(out)) {}

event_log_file::~event_log_file() {
  encoder_.flush();
  hand_over();
}

void event_log_file::begin_segment(time_point now) {
  encoder_.flush();
  hand_over();
  const auto wall =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch());
  encoder_.begin({options_.core, options_.node, wall.count()});
  recording_ = encoder_.snapshot(now, snapshot_());
  if (!recording_)
    log_.error("event-log", "the state is too large for a snapshot: recording stops", {{"folder", options_.folder}});
  writer_->push(encoder_.take(), true);
  due_.reset();
}

void event_log_file::appended(time_point at) {
  if (encoder_.gathering()) {
    if (!due_)
      due_ = at + flush_delay;
    return;
  }
  hand_over(); // the encoder sealed a full record
  due_.reset();
  if (encoder_.segment_size() >= options_.segment_bytes)
    begin_segment(at);
  else if (writer_->unwritten() > options_.max_unwritten_bytes)
    recording_ = false;
}

void event_log_file::skip(time_point at) {
  ++left_out_;
  if (writer_->unwritten() > options_.max_unwritten_bytes / 2)
    return;
  log_.warn("event-log", "the disk was behind: facts were left out",
            {{"facts", std::to_string(left_out_)}, {"folder", options_.folder}});
  begin_segment(at);
}

void event_log_file::flush(time_point now) {
  due_.reset();
  encoder_.flush();
  hand_over();
  if (encoder_.segment_size() >= options_.segment_bytes)
    begin_segment(now);
}

void event_log_file::hand_over() {
  if (auto bytes = encoder_.take(); !bytes.empty())
    writer_->push(std::move(bytes), false);
}

result<std::vector<std::string>> event_log_segments(const std::string& folder) {
  std::vector<std::string> paths;
  for (const std::uint64_t number : segment_numbers(folder))
    paths.push_back(folder + "/" + segment_name(number));
  if (paths.empty())
    return error{errc::not_found, "no event log in " + folder + ": it holds no file NNNNNNNN.log", {}};
  return paths;
}

} // namespace squall::actors
