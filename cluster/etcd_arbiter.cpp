#include "calls/detail/base64.hpp"
#include "calls/json.hpp"
#include "cluster/arbiter.hpp"

#include <curl/curl.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

/// The record as a key of etcd, over the JSON gateway that etcd serves beside gRPC. A read is linearizable and a
/// transaction compares the revision of the key's last change, which is never used again: all that a record needs.
namespace squall::cluster {

namespace {

constexpr long timeout_ms = 2'000;

/// Posts JSON, one request after the other, in a thread of its own.
class poster {
public:
  using answer = std::function<void(result<std::string>)>; ///< called in that thread

  explicit poster(std::string base) : base_(std::move(base)), thread_([this] { run(); }) {}
  ~poster() {
    {
      const std::lock_guard lock{mutex_};
      stopping_ = true;
    }
    wanted_.notify_one();
    thread_.join();
  }
  poster(const poster&) = delete;
  poster& operator=(const poster&) = delete;

  void post(std::string path, std::string body, answer done) {
    {
      const std::lock_guard lock{mutex_};
      waiting_.push_back({std::move(path), std::move(body), std::move(done)});
    }
    wanted_.notify_one();
  }

private:
  struct request {
    std::string path;
    std::string body;
    answer done;
  };

  void run() {
    const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> handle{curl_easy_init(), curl_easy_cleanup};
    for (;;) {
      std::unique_lock lock{mutex_};
      wanted_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (stopping_)
        return;
      const request next = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      next.done(perform(handle.get(), next));
    }
  }

  result<std::string> perform(CURL* handle, const request& what) {
    if (handle == nullptr)
      return {errc::internal, "libcurl gives no handle"};
    std::string text;
    const std::string url = base_ + what.path;
    curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, what.body.c_str());
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, static_cast<long>(what.body.size()));
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_PROXY, "");
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &text);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &poster::take);
    const CURLcode code = curl_easy_perform(handle);
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK)
      return {errc::unavailable, "etcd at " + base_ + " does not answer: " + curl_easy_strerror(code)};
    if (status != 200)
      return {errc::unavailable, "etcd at " + base_ + " answers with status " + std::to_string(status) + ": " + text};
    return text;
  }

  static std::size_t take(const char* bytes, std::size_t size, std::size_t count, void* to) {
    constexpr std::size_t longest = 1 << 20;
    auto& text = *static_cast<std::string*>(to);
    if (text.size() + size * count > longest)
      return 0;
    text.append(bytes, size * count);
    return size * count;
  }

  const std::string base_;
  std::mutex mutex_;
  std::condition_variable wanted_;
  std::deque<request> waiting_;
  bool stopping_ = false;
  std::thread thread_;
};

/// etcd writes 64-bit numbers as texts.
std::uint64_t number_of(const std::optional<calls::json_node>& node) {
  const auto text = node ? node->as_string() : std::nullopt;
  return text ? std::strtoull(std::string{*text}.c_str(), nullptr, 10) : 0;
}

result<arbiter::versioned> read_range(const std::string& text) {
  SQUALL_ASSIGN(document, calls::json_document::parse(text));
  const auto found = document.root().find("kvs");
  if (!found || found->size() == 0)
    return arbiter::versioned{};
  const calls::json_node entry = found->element(0);
  const auto value = entry.find("value");
  const auto encoded = value ? value->as_string() : std::nullopt;
  const auto bytes = encoded ? calls::detail::from_base64(*encoded) : std::nullopt;
  if (!bytes)
    return {errc::corrupt, "etcd's answer has no value: " + text};
  SQUALL_ASSIGN(record, calls::from_json<lease_record>(*bytes));
  return arbiter::versioned{number_of(entry.find("mod_revision")), std::move(record)};
}

result<std::uint64_t> read_transaction(const std::string& text) {
  SQUALL_ASSIGN(document, calls::json_document::parse(text));
  const auto succeeded = document.root().find("succeeded"); // left out when false
  if (!succeeded || !succeeded->as_boolean().value_or(false))
    return {errc::already_exists, "another version of the record is there"};
  const auto header = document.root().find("header");
  const std::uint64_t revision = header ? number_of(header->find("revision")) : 0;
  if (revision == 0)
    return {errc::corrupt, "etcd's answer has no revision: " + text};
  return revision;
}

class etcd_arbiter final : public arbiter {
public:
  etcd_arbiter(const std::string& endpoint, const std::string& key, actors::post& post)
      : key_(calls::detail::to_base64(key)), post_(post), poster_(endpoint) {}

  void read(std::function<void(result<versioned>)> done) override {
    calls::json_writer body;
    body.begin_object();
    body("key", key_);
    body.end_object();
    poster_.post("/v3/kv/range", body.take(), [this, done = std::move(done)](const result<std::string>& text) {
      hand_over(done, text ? read_range(*text) : result<versioned>{text.error()});
    });
  }

  void write(std::uint64_t expected_version, const lease_record& record,
             std::function<void(result<std::uint64_t>)> done) override {
    calls::json_writer body;
    body.begin_object();
    body.key("compare");
    body.begin_array();
    body.begin_object();
    body("key", key_);
    body("target", std::string{"MOD"});
    body("result", std::string{"EQUAL"});
    body("mod_revision", std::to_string(expected_version));
    body.end_object();
    body.end_array();
    body.key("success");
    body.begin_array();
    body.begin_object();
    body.key("request_put");
    body.begin_object();
    body("key", key_);
    body("value", calls::detail::to_base64(calls::to_json(record)));
    body.end_object();
    body.end_object();
    body.end_array();
    body.end_object();
    poster_.post("/v3/kv/txn", body.take(), [this, done = std::move(done)](const result<std::string>& text) {
      hand_over(done, text ? read_transaction(*text) : result<std::uint64_t>{text.error()});
    });
  }

private:
  template <class Done, class Result>
  void hand_over(Done done, Result what) {
    post_.later([done = std::move(done), what = std::move(what)] { done(what); });
  }

  const std::string key_;
  actors::post& post_;
  poster poster_; // last: its thread uses the others
};

} // namespace

std::unique_ptr<arbiter> make_etcd_arbiter(const std::string& endpoint, const std::string& cluster,
                                           actors::post& post) {
  return std::make_unique<etcd_arbiter>(endpoint, "squall/" + cluster + "/leader", post);
}

} // namespace squall::cluster
