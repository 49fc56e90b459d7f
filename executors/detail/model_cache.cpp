#include "executors/detail/model_cache.hpp"

#include "base/hash.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

namespace squall::executors {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view unfinished = ".part";

std::string file_name(const std::string& key, std::uint64_t version) {
  fnv1a hash;
  hash.add(key);
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%016llx-%llu", static_cast<unsigned long long>(hash.value()),
                static_cast<unsigned long long>(version));
  return text.data();
}

/// As uploads are named: models/, 32 digits of a hash of the content, a dash and a name for people.
bool names_content(std::string_view key) {
  constexpr std::string_view prefix = "models/";
  constexpr std::size_t digits = 32;
  if (!key.starts_with(prefix) || key.size() <= prefix.size() + digits || key[prefix.size() + digits] != '-')
    return false;
  return key.substr(prefix.size(), digits).find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// Whoever sees the final name sees the whole file.
result<> write_file(const std::string& path, std::span<const std::byte> bytes) {
  const auto part = path + std::string{unfinished};
  const int fd = ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const auto failed = [&](const char* what) {
    error e{errc::unavailable, std::string{"cannot "} + what + " " + part + ": " + std::strerror(errno), {}};
    if (fd >= 0)
      ::close(fd);
    ::unlink(part.c_str());
    return e;
  };
  if (fd < 0)
    return failed("make");
  while (!bytes.empty()) {
    const auto n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return failed("write");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  ::close(fd);
  if (::rename(part.c_str(), path.c_str()) != 0)
    return {errc::unavailable, "cannot rename " + part + ": " + std::strerror(errno)};
  return {};
}

} // namespace

model_cache::model_cache(std::string folder, std::uint64_t max_bytes, actors::post& post, actors::background& disk,
                         logger& log)
    : folder_(std::move(folder)), max_bytes_(max_bytes), post_(post), disk_(disk), log_(log) {
  scan();
}

model_cache::~model_cache() { *alive_ = false; }

/// The order of last use is that of the files' times.
void model_cache::scan() {
  std::error_code code;
  fs::create_directories(folder_, code);
  std::vector<std::pair<fs::file_time_type, std::string>> found;
  for (const auto& entry : fs::directory_iterator(folder_, code)) {
    std::error_code ignored;
    if (entry.path().extension() == unfinished)
      fs::remove(entry.path(), ignored);
    else if (entry.is_regular_file(ignored))
      found.emplace_back(entry.last_write_time(ignored), entry.path().filename().string());
  }
  if (code)
    log_.warn("node", "the cache of models cannot be read", {{"folder", folder_}, {"error", code.message()}});
  std::sort(found.begin(), found.end());
  for (const auto& [time, name] : found) {
    const auto size = fs::file_size(path(name), code);
    if (code)
      continue;
    files_[name] = {size, ++clock_};
    used_bytes_ += size;
  }
}

void model_cache::fetch(object_source& from, const std::string& key, fetched done) {
  if (const auto named = names_.find(key); named != names_.end()) {
    if (const auto known = files_.find(named->second); known != files_.end()) {
      known->second.last_used = ++clock_;
      return done(path(named->second));
    }
    names_.erase(named); // it had to make room
  }
  auto& waiting = fetches_[key];
  waiting.push_back(std::move(done));
  if (waiting.size() > 1)
    return;
  from.stat(key, [this, &from, key, alive = alive_](result<wire::store_entry> entry) {
    if (*alive)
      on_stat(from, key, std::move(entry));
  });
}

void model_cache::on_stat(object_source& from, const std::string& key, result<wire::store_entry> entry) {
  if (!entry.ok())
    return finish(key, std::move(entry).error());
  const auto name = file_name(key, entry->version);
  if (const auto known = files_.find(name); known != files_.end() && known->second.size_bytes == entry->size_bytes) {
    known->second.last_used = ++clock_;
    return found(key, name);
  }
  if (entry->size_bytes > max_bytes_)
    return finish(key, error{errc::too_large,
                             "it has " + std::to_string(entry->size_bytes) +
                                 " bytes, but the node's cache of models holds " + std::to_string(max_bytes_),
                             {}});
  from.get(key, [this, key, name, alive = alive_](result<shared_bytes> bytes) {
    if (*alive)
      on_bytes(key, name, std::move(bytes));
  });
}

void model_cache::on_bytes(const std::string& key, const std::string& name, result<shared_bytes> bytes) {
  if (!bytes.ok())
    return finish(key, std::move(bytes).error());
  make_room(bytes->size());
  disk_.run([this, key, name, to = path(name), bytes = std::move(*bytes), &post = post_, alive = alive_] {
    auto written = write_file(to, bytes.span());
    post.later([this, key, name, size = bytes.size(), written, alive] {
      if (*alive)
        on_written(key, name, size, written);
    });
  });
}

void model_cache::on_written(const std::string& key, const std::string& name, std::uint64_t size, result<> written) {
  if (!written.ok())
    return finish(key, std::move(written).error());
  auto& file = files_[name];
  used_bytes_ += size - file.size_bytes;
  file = {size, ++clock_};
  found(key, name);
}

void model_cache::found(const std::string& key, const std::string& name) {
  if (names_content(key))
    names_[key] = name;
  finish(key, path(name));
}

void model_cache::make_room(std::uint64_t bytes) {
  while (!files_.empty() && used_bytes_ + bytes > max_bytes_) {
    const auto oldest = std::min_element(files_.begin(), files_.end(), [](const auto& a, const auto& b) {
      return a.second.last_used < b.second.last_used;
    });
    used_bytes_ -= oldest->second.size_bytes;
    disk_.run([gone = path(oldest->first)] { ::unlink(gone.c_str()); });
    files_.erase(oldest);
  }
}

void model_cache::finish(const std::string& key, const result<std::string>& outcome) {
  const auto found = fetches_.find(key);
  if (found == fetches_.end())
    return;
  const auto waiting = std::move(found->second);
  fetches_.erase(found);
  for (const auto& done : waiting) {
    if (outcome.ok()) {
      done(outcome);
      continue;
    }
    auto e = outcome.error();
    e.message = "object '" + key + "' of the store: " + e.message;
    done(e);
  }
}

} // namespace squall::executors
