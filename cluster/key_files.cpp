#include "cluster/key_files.hpp"

#include "wire/zmq/socket.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace squall::cluster {

namespace {

result<> write_file(const std::string& path, const std::string& text) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0)
    return error{errno == EEXIST ? errc::already_exists : errc::unavailable,
                 "cannot make " + path + ": " + std::strerror(errno),
                 {}};
  const bool written = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(file);
  return written ? result<>{} : error{errc::unavailable, "cannot write " + path, {}};
}

result<std::vector<std::string>> read_lines(const std::string& path, bool secret) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0)
    return error{errc::not_found, path + " is not there; make keys with: squall keys new FOLDER", {}};
  if (secret && (info.st_mode & 077) != 0)
    return error{errc::permission_denied, path + " can be read by others; run: chmod 600 " + path, {}};
  std::ifstream in{path};
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);)
    if (!line.empty() && line[0] != '#')
      lines.push_back(line);
  return lines;
}

result<std::string> read_key(const std::string& path, bool secret) {
  SQUALL_ASSIGN(lines, read_lines(path, secret));
  if (lines.size() != 1 || lines[0].size() != 40)
    return error{errc::corrupt, path + " should hold one key of 40 characters", {}};
  return lines[0];
}

constexpr std::string_view allowed_title = "# who may connect: public key, role (user, node or admin), name\n";

std::string list_text(const std::vector<key_entry>& entries) {
  std::string text{allowed_title};
  for (const key_entry& e : entries)
    text += e.key + " " + e.role + (e.name.empty() ? "" : " " + e.name) + "\n";
  return text;
}

/// Whoever reads it meanwhile sees the old list or the new one.
result<> replace_list(const std::string& folder, const std::vector<key_entry>& entries) {
  const std::string fresh = folder + "/allowed.new";
  ::unlink(fresh.c_str()); // of somebody who was cut off
  SQUALL_TRY(write_file(fresh, list_text(entries)));
  if (::rename(fresh.c_str(), (folder + "/allowed").c_str()) != 0)
    return error{errc::unavailable, "cannot replace " + folder + "/allowed: " + std::strerror(errno), {}};
  return {};
}

std::string text_of(const std::string& path) {
  std::ifstream in{path};
  return {std::istreambuf_iterator<char>{in}, {}};
}

} // namespace

result<> make_key_folder(const std::string& folder) {
  SQUALL_ASSIGN(server, wire::make_keys());
  SQUALL_ASSIGN(client, wire::make_keys());
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return error{errc::unavailable, "cannot make folder " + folder + ": " + std::strerror(errno), {}};
  SQUALL_TRY(write_file(folder + "/server.public", server.public_key + "\n"));
  SQUALL_TRY(write_file(folder + "/server.secret", server.secret_key + "\n"));
  SQUALL_TRY(write_file(folder + "/client.public", client.public_key + "\n"));
  SQUALL_TRY(write_file(folder + "/client.secret", client.secret_key + "\n"));
  return write_file(folder + "/allowed", std::string{allowed_title} + client.public_key + " admin cluster\n");
}

result<std::vector<key_entry>> list_keys(const std::string& folder) {
  SQUALL_ASSIGN(lines, read_lines(folder + "/allowed", false));
  std::vector<key_entry> out;
  for (const std::string& line : lines) {
    std::istringstream words{line};
    key_entry entry;
    words >> entry.key >> entry.role >> entry.name;
    if (entry.role.empty())
      entry.role = "admin";
    out.push_back(std::move(entry));
  }
  return out;
}

result<> add_key(const std::string& folder, const std::string& role, const std::string& name) {
  if (role != "user" && role != "node" && role != "admin")
    return error{errc::invalid_argument, "'" + role + "' is no role; roles are user, node and admin", {}};
  const bool plain = std::all_of(name.begin(), name.end(),
                                 [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; });
  if (name.empty() || !plain)
    return error{errc::invalid_argument, "'" + name + "' is no name for a key: use letters, digits, - and _", {}};
  SQUALL_ASSIGN(known, list_keys(folder));
  for (const key_entry& entry : known)
    if (entry.name == name)
      return error{errc::already_exists, "there is a key '" + name + "'; revoke it first, or choose another name", {}};
  SQUALL_ASSIGN(server_public, read_key(folder + "/server.public", false));
  SQUALL_ASSIGN(fresh, wire::make_keys());
  const std::string own = folder + "/" + name;
  if (::mkdir(own.c_str(), 0700) != 0)
    return error{errno == EEXIST ? errc::already_exists : errc::unavailable,
                 "cannot make folder " + own + ": " + std::strerror(errno),
                 {}};
  SQUALL_TRY(write_file(own + "/server.public", server_public + "\n"));
  SQUALL_TRY(write_file(own + "/client.public", fresh.public_key + "\n"));
  SQUALL_TRY(write_file(own + "/client.secret", fresh.secret_key + "\n"));
  known.push_back({fresh.public_key, role, name});
  SQUALL_TRY(replace_list(folder, known));
  if (role != "node")
    return {};
  SQUALL_ASSIGN(server_secret, read_key(folder + "/server.secret", true));
  SQUALL_TRY(write_file(own + "/server.secret", server_secret + "\n"));
  return write_file(own + "/allowed", list_text(known));
}

result<> revoke_key(const std::string& folder, const std::string& name) {
  SQUALL_ASSIGN(known, list_keys(folder));
  const auto gone = std::erase_if(known, [&](const key_entry& e) { return e.name == name || e.key == name; });
  if (gone == 0)
    return error{errc::not_found, "there is no key '" + name + "' in " + folder + "/allowed", {}};
  if (known.empty())
    return error{errc::invalid_argument, "'" + name + "' is the only key; without one nobody could connect", {}};
  return replace_list(folder, known);
}

key_watch::key_watch(std::string folder) : path_(folder.empty() ? "" : folder + "/allowed") {
  if (!path_.empty())
    seen_ = text_of(path_);
}

std::optional<std::vector<std::string>> key_watch::changed() {
  if (path_.empty())
    return {};
  std::string text = text_of(path_);
  if (text == seen_)
    return {};
  seen_ = std::move(text);
  auto lines = read_lines(path_, false);
  return lines ? std::optional{std::move(*lines)} : std::nullopt;
}

result<actors::curve_keys> load_key_folder(const std::string& folder) {
  actors::curve_keys keys;
  if (folder.empty())
    return keys;
  SQUALL_ASSIGN(server_public, read_key(folder + "/server.public", false));
  SQUALL_ASSIGN(server_secret, read_key(folder + "/server.secret", true));
  SQUALL_ASSIGN(client_public, read_key(folder + "/client.public", false));
  SQUALL_ASSIGN(client_secret, read_key(folder + "/client.secret", true));
  SQUALL_ASSIGN(allowed, read_lines(folder + "/allowed", false));
  keys.server_public = std::move(server_public);
  keys.server_secret = std::move(server_secret);
  keys.client_public = std::move(client_public);
  keys.client_secret = std::move(client_secret);
  keys.allowed = std::move(allowed);
  return keys;
}

} // namespace squall::cluster
