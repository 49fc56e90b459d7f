#include "cluster/key_files.hpp"

#include "wire/zmq/socket.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>

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
  return write_file(folder + "/allowed",
                    "# public keys of clients and nodes that may connect, one a line\n" + client.public_key + "\n");
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
