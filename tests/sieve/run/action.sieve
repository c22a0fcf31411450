# The action replaces the message, and does not cancel the implicit keep.
require "vnd.perot.encrypt";
encrypt;
