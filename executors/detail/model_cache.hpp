#pragma once

#include "actors/background.hpp"
#include "actors/role.hpp"
#include "base/log.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace squall::executors {

/// What the node needs of the store. Callbacks come in the role's context; the role hands over messages and time as for
/// actors::store_client.
class object_source {
public:
  virtual ~object_source() = default;
  virtual void stat(const std::string& key, std::function<void(result<wire::store_entry>)> done) = 0;
  virtual void get(const std::string& key, std::function<void(result<shared_bytes>)> done) = 0;
  /// Durable before it is answered if that is asked for.
  virtual void put(const std::string& key, shared_bytes value, bool durable, std::function<void(result<>)> done) = 0;
  virtual void erase(const std::string& key, std::function<void(result<>)> done) = 0;
  /// All keys with the prefix, ascending.
  virtual void list(const std::string& prefix, std::function<void(result<std::vector<std::string>>)> done) = 0;
  virtual bool on_message(const actors::incoming& message) = 0;
  virtual void on_alarm() = 0;
  [[nodiscard]] virtual time_point next_alarm() const = 0;
  /// The store is another peer now: what was asked fails.
  virtual void reset(actors::peer_id store) = 0;
};

/// Objects of the store as files on this host's disk: one file per key and version, named by a hash of the key and the
/// version. Several who want the same object at once share one fetch. When the files together pass the bound, those
/// that were used least recently go.
class model_cache {
public:
  using fetched = std::function<void(result<std::string>)>; ///< the path

  /// Makes the folder and learns what is in it. The role calls this and fetch() in its own context; `post` and `disk`
  /// outlive the cache.
  model_cache(std::string folder, std::uint64_t max_bytes, actors::post& post, actors::background& disk, logger& log);
  ~model_cache();

  /// The file of the current version of `key`; at once, and without asking the store, when the key names its content
  /// and the file was fetched before. Fails as not_found, as unavailable (store or disk), or as too_large for the
  /// cache.
  void fetch(object_source& from, const std::string& key, fetched done);

  [[nodiscard]] std::uint64_t used_bytes() const { return used_bytes_; }

private:
  struct file {
    std::uint64_t size_bytes = 0;
    std::uint64_t last_used = 0;
  };
  using waiting = std::vector<fetched>;

  void scan();
  void on_stat(object_source& from, const std::string& key, result<wire::store_entry> entry);
  void on_bytes(const std::string& key, const std::string& name, result<shared_bytes> bytes);
  void on_written(const std::string& key, const std::string& name, std::uint64_t size, result<> written);
  void make_room(std::uint64_t bytes);
  void finish(const std::string& key, const result<std::string>& outcome);
  void found(const std::string& key, const std::string& name);
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }

  std::string folder_;
  std::uint64_t max_bytes_;
  actors::post& post_;
  actors::background& disk_;
  logger& log_;
  std::map<std::string, file> files_; ///< by name
  std::uint64_t used_bytes_ = 0;
  std::uint64_t clock_ = 0;
  std::map<std::string, waiting> fetches_;                     ///< by key
  std::map<std::string, std::string> names_;                   ///< of files, by keys that name their content
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true); ///< callbacks that come after the end do nothing
};

} // namespace squall::executors
