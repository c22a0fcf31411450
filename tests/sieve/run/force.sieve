# What is encrypted is left alone, unless :force is given.
# sieve_perot_encrypt_certs = ~/own
require "vnd.perot.encrypt";
encrypt;
encrypt;
encrypt :force;
