;; c = a @ b, or c += a @ b: the one product of matrices that the exported page needs, four numbers at a time.
;; a [m, k], b [k, n], c [m, n], float32. Of each: where it begins and how far apart its rows are, in bytes. k and m are
;; at least 1, and n is a multiple of 4. Two rows of c are computed together, so that what is read of b serves twice; of
;; an odd number of rows the last one is computed twice. Columns go in strips of 16, then of 4.
(module
  (import "page" "memory" (memory 1))
  (func (export "gemm")
    (param $a i32) (param $lda i32) (param $b i32) (param $ldb i32) (param $c i32) (param $ldc i32)
    (param $m i32) (param $k i32) (param $n i32) (param $add i32)
    (local $a2 i32) (local $c2 i32) (local $j i32) (local $p i32) (local $q i32) (local $q2 i32) (local $end i32)
    (local $x v128) (local $y v128) (local $w v128)
    (local $s0 v128) (local $s1 v128) (local $s2 v128) (local $s3 v128)
    (local $t0 v128) (local $t1 v128) (local $t2 v128) (local $t3 v128)
    local.get $k i32.const 2 i32.shl local.set $k  ;; lengths in bytes
    local.get $n i32.const 2 i32.shl local.set $n
    loop $rows
      ;; the second row: the next one, or, where there is none, this one again
      local.get $a local.get $lda i32.const 0 local.get $m i32.const 1 i32.gt_u select i32.add local.set $a2
      local.get $c local.get $ldc i32.const 0 local.get $m i32.const 1 i32.gt_u select i32.add local.set $c2
      i32.const 0 local.set $j
      block $wide_done
        loop $wide
          local.get $j i32.const 64 i32.add local.get $n i32.gt_u br_if $wide_done
          v128.const i32x4 0 0 0 0 local.tee $s0 local.tee $s1 local.tee $s2 local.tee $s3
          local.tee $t0 local.tee $t1 local.tee $t2 local.set $t3
          local.get $add
          if
            local.get $c local.get $j i32.add local.tee $p v128.load local.set $s0
            local.get $p v128.load offset=16 local.set $s1
            local.get $p v128.load offset=32 local.set $s2
            local.get $p v128.load offset=48 local.set $s3
            local.get $c2 local.get $j i32.add local.tee $p v128.load local.set $t0
            local.get $p v128.load offset=16 local.set $t1
            local.get $p v128.load offset=32 local.set $t2
            local.get $p v128.load offset=48 local.set $t3
          end
          local.get $b local.get $j i32.add local.set $p
          local.get $a2 local.set $q2
          local.get $a local.tee $q local.get $k i32.add local.set $end
          loop $inner
            local.get $q v128.load32_splat local.set $x
            local.get $q2 v128.load32_splat local.set $y
            local.get $p v128.load local.tee $w local.get $x f32x4.mul local.get $s0 f32x4.add local.set $s0
            local.get $w local.get $y f32x4.mul local.get $t0 f32x4.add local.set $t0
            local.get $p v128.load offset=16 local.tee $w local.get $x f32x4.mul local.get $s1 f32x4.add local.set $s1
            local.get $w local.get $y f32x4.mul local.get $t1 f32x4.add local.set $t1
            local.get $p v128.load offset=32 local.tee $w local.get $x f32x4.mul local.get $s2 f32x4.add local.set $s2
            local.get $w local.get $y f32x4.mul local.get $t2 f32x4.add local.set $t2
            local.get $p v128.load offset=48 local.tee $w local.get $x f32x4.mul local.get $s3 f32x4.add local.set $s3
            local.get $w local.get $y f32x4.mul local.get $t3 f32x4.add local.set $t3
            local.get $p local.get $ldb i32.add local.set $p
            local.get $q2 i32.const 4 i32.add local.set $q2
            local.get $q i32.const 4 i32.add local.tee $q local.get $end i32.lt_u br_if $inner
          end
          local.get $c2 local.get $j i32.add local.tee $p local.get $t0 v128.store
          local.get $p local.get $t1 v128.store offset=16
          local.get $p local.get $t2 v128.store offset=32
          local.get $p local.get $t3 v128.store offset=48
          local.get $c local.get $j i32.add local.tee $p local.get $s0 v128.store
          local.get $p local.get $s1 v128.store offset=16
          local.get $p local.get $s2 v128.store offset=32
          local.get $p local.get $s3 v128.store offset=48
          local.get $j i32.const 64 i32.add local.set $j
          br $wide
        end
      end
      block $narrow_done
        loop $narrow
          local.get $j local.get $n i32.ge_u br_if $narrow_done
          v128.const i32x4 0 0 0 0 local.tee $s0 local.set $t0
          local.get $add
          if
            local.get $c local.get $j i32.add v128.load local.set $s0
            local.get $c2 local.get $j i32.add v128.load local.set $t0
          end
          local.get $b local.get $j i32.add local.set $p
          local.get $a2 local.set $q2
          local.get $a local.tee $q local.get $k i32.add local.set $end
          loop $each
            local.get $p v128.load local.tee $w
            local.get $q v128.load32_splat f32x4.mul local.get $s0 f32x4.add local.set $s0
            local.get $w local.get $q2 v128.load32_splat f32x4.mul local.get $t0 f32x4.add local.set $t0
            local.get $p local.get $ldb i32.add local.set $p
            local.get $q2 i32.const 4 i32.add local.set $q2
            local.get $q i32.const 4 i32.add local.tee $q local.get $end i32.lt_u br_if $each
          end
          local.get $c2 local.get $j i32.add local.get $t0 v128.store
          local.get $c local.get $j i32.add local.get $s0 v128.store
          local.get $j i32.const 16 i32.add local.set $j
          br $narrow
        end
      end
      local.get $a2 local.get $lda i32.add local.set $a
      local.get $c2 local.get $ldc i32.add local.set $c
      local.get $m i32.const 2 i32.gt_u
      local.get $m i32.const 2 i32.sub local.set $m
      br_if $rows
    end
  )
)
