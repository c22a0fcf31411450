# What is encrypted is left alone, unless :force is given.
require "vnd.perot.encrypt";
encrypt;
encrypt;
encrypt :force;
