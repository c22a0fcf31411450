# The action replaces the message, and does not cancel the implicit keep.
# sieve_perot_encrypt_certs = ~/own
require "vnd.perot.encrypt";
encrypt;
