#include "wire/detail/codec_of.hpp"
#include "wire/worker.hpp"

SQUALL_CODEC_OF(squall::wire::worker::ready);
SQUALL_CODEC_OF(squall::wire::worker::load);
SQUALL_CODEC_OF(squall::wire::worker::loaded);
SQUALL_CODEC_OF(squall::wire::worker::unload);
SQUALL_CODEC_OF(squall::wire::worker::run);
SQUALL_CODEC_OF(squall::wire::worker::done);
SQUALL_CODEC_OF(squall::wire::worker::release);
SQUALL_CODEC_OF(squall::wire::worker::cancel);
SQUALL_CODEC_OF(squall::wire::worker::note);
SQUALL_CODEC_OF(squall::wire::worker::segment);
SQUALL_CODEC_OF(squall::wire::worker::partial);
SQUALL_CODEC_OF(squall::wire::worker::call);
SQUALL_CODEC_OF(squall::wire::worker::returned);
SQUALL_CODEC_OF(squall::wire::worker::waiting);
SQUALL_CODEC_OF(squall::wire::worker::state_request);
SQUALL_CODEC_OF(squall::wire::worker::state_reply);
SQUALL_CODEC_OF(squall::wire::worker::spawn);
SQUALL_CODEC_OF(squall::wire::worker::spawned);
SQUALL_CODEC_OF(squall::wire::worker::kill);
SQUALL_CODEC_OF(squall::wire::worker::exited);
