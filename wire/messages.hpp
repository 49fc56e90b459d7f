#pragma once

// All messages of the protocol.
#include "wire/arena.hpp"
#include "wire/client_messages.hpp"
#include "wire/node_messages.hpp"
#include "wire/store_messages.hpp"
