#pragma once

#include "actors/role.hpp"
#include "base/log.hpp"
#include "kvs/store.hpp"
#include "wire/arena.hpp"

#include <chrono>
#include <memory>
#include <string>

namespace squall::kvs {

struct store_service_options {
  std::size_t max_uploads = 64;                    ///< of all peers together; one more is overloaded
  duration upload_idle = std::chrono::seconds{60}; ///< an upload without a piece for so long is dropped
  std::uint32_t max_list = 1000;                   ///< entries of one answer; more are paged
  std::size_t max_list_bytes = 512 * 1024;         ///< keys of one answer, well within a message's header
  std::string software = "squall store";           ///< how it introduces itself
};

/// The role that serves a store on the wire (store_put, store_get, store_delete and store_list of docs/wire.md; hello
/// and ping). Blocks on the disk, so it runs detached. `engine` must outlive it and may be used by others at the same
/// time.
///
/// Durable writes that arrive together are flushed to the disk once, before the first of them is acknowledged; deletes
/// are durable. Each piece of an upload is acknowledged, with an entry in the last one's answer. An upload whose piece
/// is refused is dropped as a whole. Uploads belong to the connection: they are dropped with it. `arenas` may be null
/// when no peer shares memory with this process.
[[nodiscard]] std::unique_ptr<actors::role_service> make_store_service(store& engine,
                                                                       std::shared_ptr<wire::arena_map> arenas,
                                                                       logger& log,
                                                                       const store_service_options& options = {});

} // namespace squall::kvs
