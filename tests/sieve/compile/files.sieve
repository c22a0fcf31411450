# Files that are refused, each under the name of a fingerprint in an OpenPGP certificate directory.
# sieve_perot_encrypt_certs = {dir}/files
require "vnd.perot.encrypt";
encrypt "0000000000000000000000000000000000000000"; # a symbolic link
encrypt "0101010101010101010101010101010101010101"; # everybody may write it
encrypt "0202020202020202020202020202020202020202"; # a pipe
encrypt "0303030303030303030303030303030303030303"; # more than 64 MiB
encrypt "0404040404040404040404040404040404040404"; # nothing in it
encrypt "0505050505050505050505050505050505050505"; # armor that is cut off
encrypt "0606060606060606060606060606060606060606"; # armor that is damaged
encrypt "0707070707070707070707070707070707070707"; # a message
encrypt "0808080808080808080808080808080808080808"; # packets that are cut off
encrypt "0909090909090909090909090909090909090909"; # a signature
encrypt "0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A"; # more than 1 MiB
encrypt "0B0B0B0B0B0B0B0B0B0B0B0B0B0B0B0B0B0B0B0B"; # a certificate of a version to come
